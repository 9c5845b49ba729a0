"""Maskings: frozen dataclasses one can call. In every mask True means hidden."""

from workbench import extensions

__path__ += extensions.paths("maskings")
