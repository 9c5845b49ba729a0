"""The answer of a study, from its run directories alone: `python -m workbench.report STUDY`.

`workbench.answer` says what is known; here it is written: `rows` (the table), `page`, `latex`, `pictures`,
`budget` (cells at an equal budget), and `check` compares a saved table (`saved`) with the runs.
"""
