"""Evaluation of a finished run on other data, or again on its own: `python -m workbench.evaluate RUN_DIR`."""
