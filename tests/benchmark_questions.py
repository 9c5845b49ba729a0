"""Annotation files of times, questions and choices, see `benchmark_files`."""

from __future__ import annotations

import json
from collections.abc import Iterable

from benchmark_items import Item, Text, of_split, singularity

SECONDS = 1.0
"""Length of the videos that `video` writes."""


def _moments(clips: Iterable[Item]) -> list[tuple[str, float, float, str]]:
    """Video, start, end and sentence: the k-th sentence of a clip is about its k-th quarter and the next."""
    return [(c.name, 0.25 * k, 0.25 * k + 0.5, text) for c in clips for k, text in enumerate(c.captions)]


def charades_lines(clips: list[Item]) -> Text:
    found = {}
    for split in ("train", "test"):
        own = of_split(clips, split)
        lines = [f"{v} {start} {end}##{text}" for v, start, end, text in _moments(own)]
        found[f"charades_sta_{split}.txt"] = "\n".join(lines)
        found[f"Charades_v1_{split}.csv"] = "id,subject,length\n" + "".join(
            f"{c.name},QT4X,{SECONDS}\n" for c in own
        )
    return found


def charades_windows(clips: list[Item]) -> Text:
    return {
        f"charades_sta_{split}_tvr_format.jsonl": "\n".join(
            json.dumps({"vid": v, "query": text, "duration": SECONDS, "relevant_windows": [[start, end]]})
            for v, start, end, text in _moments(of_split(clips, split))
        )
        for split in ("train", "test")
    }


def _asked(clip: Item) -> list[tuple[str, str]]:
    """Its captions as questions: the last word is the answer."""
    return [(f"{text.rpartition(' ')[0]}?", text.rpartition(" ")[2]) for text in clip.captions]


def _questions(clips: list[Item], split: str) -> list[tuple[Item, str, str]]:
    return [(c, *pair) for c in of_split(clips, split) for pair in _asked(c)]


def msrvtt_questions(clips: list[Item]) -> Text:
    return {
        f"{split}_qa.json": json.dumps(
            [
                {
                    "answer": a,
                    "category_id": 14,
                    "id": i,
                    "question": q,
                    "video_id": int(c.name.removeprefix("video")),
                }
                for i, (c, q, a) in enumerate(_questions(clips, split))
            ]
        )
        for split in ("train", "val", "test")
    }


def msvd_questions(clips: list[Item]) -> Text:
    number = {c.name: i for i, c in enumerate(clips, 1)}
    return {
        f"{split}_qa.json": json.dumps(
            [
                {"answer": a, "id": i, "question": q, "video_id": number[c.name]}
                for i, (c, q, a) in enumerate(_questions(clips, split))
            ]
        )
        for split in ("train", "val", "test")
    } | {"youtube_mapping.txt": "".join(f"{name} vid{i}\n" for name, i in number.items())}


def activitynet_questions(clips: list[Item]) -> Text:
    found = {}
    for split in ("train", "val", "test"):
        asked = [(f"{c.name}_{i}", c, q, a) for i, (c, q, a) in enumerate(_questions(clips, split))]
        found[f"{split}_q.json"] = json.dumps(
            [{"video_name": c.name[2:], "question": q, "question_id": i} for i, c, q, _ in asked]
        )
        found[f"{split}_a.json"] = json.dumps(
            [{"answer": a, "type": 8, "question_id": i} for i, _, _, a in asked]
        )
    return found


def singularity_questions(clips: list[Item], prefix: str) -> Text:
    return {
        f"{prefix}_{split}.json": json.dumps(
            [
                {"image": f"{c.name}.mp4", "question": q, "answer": a, "question_id": i}
                for i, (c, q, a) in enumerate(_questions(clips, split))
            ]
        )
        for split in ("train", "val", "test")
    }


def _five(clip: Item, place: int) -> list[str]:
    options = [f"something else {k}" for k in range(4)]
    options.insert(place, clip.captions[0])
    return options


def msrvtt_choices(clips: list[Item]) -> Text:
    test = [
        {"image": f"{c.name}.mp4", "caption": _five(c, i), "answer": i}
        for i, c in enumerate(of_split(clips, "test"))
    ]
    train = singularity(clips, "msrvtt_ret_train7k.json", "unused.json")["msrvtt_ret_train7k.json"]
    return {"msrvtt_ret_train7k.json": train, "msrvtt_mc_test.json": json.dumps(test)}


def violet_choices(clips: list[Item]) -> Text:
    splits = dict.fromkeys(clip.split for clip in clips)
    return {
        "txt_msrvtt-mc.json": json.dumps(
            {
                s: [
                    {"video": c.name, "answer": i % 5}
                    | {f"option_{k}": text for k, text in enumerate(_five(c, i % 5))}
                    for i, c in enumerate(of_split(clips, s))
                ]
                for s in splits
            }
        )
    }
