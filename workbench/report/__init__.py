"""The answer of a study, from its run directories alone: `python -m workbench.report STUDY`.

`workbench.answer` computes the answer; this package writes it: `rows` (the table), `page`, `latex` with `fit`
(tables that fit the page), `pivot` (tables in a custom layout), `macros` (numbers for prose), `pictures`
(figures), `budget` (cells at an equal budget). `check` compares a saved table (`saved`) with the runs.
"""
