"""A request for a prediction: a run and a clip."""

from __future__ import annotations

from typing import Any, NamedTuple

from app import clips, helper
from workbench.inspection.clips import Clips, weights
from workbench.inspection.outputs import objective
from workbench.tracking.run_dir import RunDir


class Request(NamedTuple):
    """A run, and a clip of its data."""

    run: RunDir
    name: str
    """Description of the run: its recipe, the other settings of its cell, its seed."""
    clips: Clips
    split: str
    query: str
    """Id of the caption by which the clip was chosen."""
    start: bool
    """Whether the clip plays by itself."""

    @property
    def clip(self) -> str:
        return self.query.rpartition("#")[0]

    @property
    def caption(self) -> str:
        return self.clips.captions[self.query]

    @property
    def captions(self) -> list[str]:
        """All that the clip has, the chosen one first."""
        own = [text for name, text in self.clips.captions.items() if name.rpartition("#")[0] == self.clip]
        return list(dict.fromkeys([self.caption, *own]))

    @property
    def trained(self) -> str:
        """The objectives of the run's training, in order."""
        stages = self.run.read_json("config.json").get("stages", [])
        words = [f"{objective(s['objective'])}{'' if s['masked'] else ' without masks'}" for s in stages]
        return f"The run was trained by {', then '.join(words)}."

    def ask(self, want: str, **more: Any) -> tuple[dict[str, Any], bytes]:
        """The helper's answer, see `workbench.inspection.predictions`; `UserError` where there is none."""
        return helper.ask(
            want=want, run=str(self.run.path.resolve()), store=str(self.clips.store.path.resolve()),
            row=self.clips.rows[self.clip], weights=weights(self.run), **more,
        )  # fmt: skip

    def play(self) -> None:
        """The clip itself."""
        clips.play(self.clips, self.clip, self.caption, start=self.start)
