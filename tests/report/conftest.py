"""Synthetic studies of several shapes, written in a moment."""

from answering import answered, change, ratios, report, results

__all__ = ["answered", "change", "ratios", "report", "results"]
