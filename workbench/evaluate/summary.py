"""An evaluation in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench import tasks


def text(found: Mapping[str, Any]) -> str:
    """What was searched by which model, what limits it, and the metrics; found: of `measure.evaluate`."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    seen = "zero-shot, none of it was trained on" if found["zero_shot"] else _trained(found)
    yield f"{found['recipe']} of {found['run']} on {found['data']}, {found['split']}: {seen}"
    yield (
        f"{found['clips']} clips, {found['captions']} captions; {found['frames']} frames of {found['size']} "
        f"pixels, SHA-256 {found['frames_sha256'][:12]}, by {found['decoder']}"
    )
    if cut := found["captions_cut"]:
        share = 100 * cut / found["captions"]
        yield f"cut for having more than {found['tokens_per_caption']} tokens: {cut} captions, {share:.3g} %"
    yield f"words that the run's tokenizer knows whole: {100 * found['words_known_whole']:.3g} %"
    if skipped := found["skipped"]:
        yield f"without {len(skipped)} videos that cannot be used, so this is another benchmark:"
        yield from (f"  {one['video']}: {one['reason']}" for one in skipped[:5])
    yield from (f"note: {note}" for note in found["notes"])
    yield ""
    names = [name for name in found["measured"] if name in found["metrics"]]
    width = max(map(len, names))
    for name in names:
        yield f"{name.ljust(width)}  {found['metrics'][name]:>8.4g}  {tasks.metric(name).title}"
    yield ""
    if any(name.endswith("/t2v_r1") for name in names):
        yield f"By chance text-to-video R@1 would be {found['chance_t2v_r1']:.2g} %."
    yield f"Kept in {found['kept_in']}"


def _trained(found: Mapping[str, Any]) -> str:
    """What of such data the model has trained on."""
    same = found["digest"] in {one["digest"] for one in found["trained_on"] if one["data"] == found["data"]}
    if same:
        return "unseen clips of the data that it was trained on"
    return "data of the name that it was trained on, with other content: no zero-shot test"
