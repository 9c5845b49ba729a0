"""Threats to the validity of an answer: nothing learned, collapsed runs, selection bias, interim looks."""
