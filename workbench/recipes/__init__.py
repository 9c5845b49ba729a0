"""Published systems, one file each: every module exposes `Config` and `Recipe`."""
