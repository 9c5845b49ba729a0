"""A finished run measured on other data, or once more on its own: `python -m workbench.evaluate RUN_DIR`."""
