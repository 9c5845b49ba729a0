"""Inspection of single clips and queries: `clips`, `answers` and `ranking` read files, without torch.

`on_demand` computes what needs torch (the vector of a sentence, a mask) in a separate process.
"""
