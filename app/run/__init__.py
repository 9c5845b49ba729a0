"""The page of one run: `page` shows all about it."""
