"""Starts and supervises the processes of a study."""
