"""Cells of a study: `options` (what the command line changes in all of them), `settings`, `build`."""
