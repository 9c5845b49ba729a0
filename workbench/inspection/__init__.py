"""Single clips and queries behind the averages: `clips`, `answers` and `ranking` read files, without torch.

What needs torch (the vector of a sentence, a mask) is `on_demand`, asked through a process of its own.
"""
