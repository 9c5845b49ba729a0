"""An experiment-tracking ablation workbench for masked video-text pre-training.

Importing the package loads nothing heavy; every layer is a module of its own (see README).
"""

__version__ = "0.1.0"
