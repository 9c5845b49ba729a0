"""What was read of a study's runs and computed from it, kept in files beside them for whoever looks next.

Nothing here is needed: what is missing, damaged or older than its run is read or computed again, and every
file (`runs/STUDY/.*.parquet`, `.computed-*.json`) may be deleted at any time.
"""
