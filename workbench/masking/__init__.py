"""Maskings: frozen dataclasses one can call. In every mask True means hidden."""
