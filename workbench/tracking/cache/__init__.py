"""Caches of what was read from a study's runs and computed from it, in files beside them.

The caches are optional: entries that are missing, damaged or older than their run are read or computed again,
and every file (`runs/STUDY/.*.parquet`, `.computed-*.json`) may be deleted at any time.
"""
