"""Requests that need torch go to one helper process, shared by all sessions; pages do not import torch."""

from __future__ import annotations

import json
from typing import Any

import streamlit as st

from workbench.data.workers import Helper
from workbench.errors import UserError

DEADLINE = 120.0
"""Seconds for one answer; the first one may take a minute longer, while torch is being loaded."""


def ask(**task: Any) -> tuple[dict[str, Any], bytes]:
    """The helper's answer, cached. Raises `UserError` if there is none."""
    return _answered(json.dumps(task))


@st.cache_resource(
    show_spinner="Asking the model; the first time loads torch …", show_time=True, max_entries=64
)
def _answered(task: str) -> tuple[dict[str, Any], bytes]:
    done = _helper().ask(json.loads(task))
    if done.failure:
        raise UserError(done.failure)
    return done.answer, done.payload


@st.cache_resource(show_spinner=False)
def _helper() -> Helper:
    return Helper("workbench.inspection.on_demand:answer", DEADLINE)
