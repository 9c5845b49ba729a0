"""The page of one run: `page` shows the run, `notes` users' notes on it."""
