"""An experiment-tracking ablation workbench for masked video-text pre-training.

Importing the package loads nothing heavy; every layer is a module of its own (see README).
"""

__version__ = "0.1.0"

import os

# OpenMP's threads wait for each other by spinning. Where other processes want the cores too, a step takes
# three times as long or more; after so many rounds they sleep instead. It has to be said before torch loads
# OpenMP, and a user's own choice stands. Figures: docs/log.md.
if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & set(os.environ):
    os.environ["GOMP_SPINCOUNT"] = "1000"

# Tensors of 2 MB and more get huge pages where the system grants them on request: most of the time of reading
# and writing a fresh large tensor goes into its page faults otherwise. A user's own choice stands.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
