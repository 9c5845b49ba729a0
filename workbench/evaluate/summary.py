"""An evaluation as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench import tasks


def text(found: Mapping[str, Any]) -> str:
    """Data, model, limitations and metrics; found: result of `measure.evaluate`."""
    return "\n".join(_lines(found))


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['recipe']} of {found['run']} on {found['data']}, {found['split']}: {_trained(found)}"
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
    """A sentence on the model's training on such data."""
    common = found.get("overlap") or {"clips": 0, "related": [], "unknown": ["this record does not say it"]}
    if clips := common["clips"]:
        least = "at least " if common["unknown"] else ""
        return (
            f"{least}{clips} of {found['clips']} clips have the name or the file of a clip that it was "
            "trained on, so this is no zero-shot test"
        )
    if unknown := common["unknown"]:
        return f"it was not checked whether these clips were trained on, since {unknown[0]}"
    if not common["related"]:
        return "zero-shot, none of it was trained on"
    if (found["data"], found["digest"]) in {(one["data"], one["digest"]) for one in found["trained_on"]}:
        return "unseen clips of the data that it was trained on"
    return (
        f"clips unseen in training, of data that it was trained on as {' and '.join(common['related'])}, so "
        "this is no zero-shot test"
    )
