"""The views, one a file; see `app` for what a view is."""
