"""The views, one file each; `app` defines what a view is."""
