"""Maskings: frozen dataclasses one can call. In every mask True means hidden."""

from workbench import own

__path__ += own.paths("maskings")
