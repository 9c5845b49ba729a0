"""The page of one run: `page` shows all about it, `notes` what people noted of it."""
