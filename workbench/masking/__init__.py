"""Maskings are callable frozen dataclasses. In every mask True means hidden."""

from workbench import extensions

__path__ += extensions.paths("maskings")
