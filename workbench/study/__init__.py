"""Studies, from a question to finished runs: `spec` (the question), `plan` (its runs), `ledger` and `search`
(the state of runs), `text_output` (texts for the terminal). Only this package uses optuna."""
