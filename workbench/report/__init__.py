"""The answer of a study, from its run directories alone: `python -m workbench.report STUDY`.

`workbench.answer` says what is known; here it is written: `rows` (the table), `page`, `latex` with `fit`
(what gives way where a table is too wide), `pivot` (tables in a layout of one's own), `macros` (numbers for
prose), `pictures`, `budget` (cells at an equal budget). `check` compares a saved table (`saved`) with the
runs.
"""
