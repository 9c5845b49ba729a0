"""What a study says, from its run directories alone.

`asked` is what the study wanted, `evidence` the values of its runs. `results` puts the answer together, with
`search` (the front), `effects`, `verdicts` on published claims and `facts` (what limits it). Its sentences
on certainty are made in `wording` and `caveats`. `grouped` averages over axes, `progress` says how far a
study is.
"""
