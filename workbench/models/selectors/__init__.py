"""Modules that select which patches, frames or regions later layers read."""
