"""The answer of a study, from its run directories alone: `python -m workbench.report STUDY`.

`asked` (what the study wanted), `evidence` (values of its runs), `answer` (comparisons, sentence, gates),
`claims` (verdicts on published claims), and what is written: `rows`, `page`, `latex`, `pictures`, `check`.
"""
