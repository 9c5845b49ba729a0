"""From a question to finished runs: `spec` (the question), `plan` (its runs), `ledger` (what is done),
`run` (working through what is missing), `show` (what one sees of it). Home of optuna."""
