"""The page that `--share` writes: the whole report, figures to move in, masks and clips, in one file.

The words and tables are those of `answer.md`, so that `--check` compares them with the runs. A policy in the
page's head forbids every request, also of names that come from files.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench.answer.results import Answer
from workbench.errors import UserError
from workbench.report.page import ORIGIN, page
from workbench.report.pictures import Picture, pictures
from workbench.report.share.markup import to_html
from workbench.report.share.media import CLIPS, Mask, Pair, Shown, address, masks, pair
from workbench.tracking.files import check_link, write_atomic

LARGEST = 15_000_000
"""Bytes of a page; what would make it larger is left out, clips first."""
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#222;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.5rem;border-bottom:1px solid #ddd}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .7rem;text-align:left;border-bottom:1px solid #e5e5e5}th{border-bottom:2px solid #999}
.number{text-align:right;white-space:nowrap}figure{margin:1.5rem 0;overflow-x:auto}
li,p,figcaption{overflow-wrap:anywhere}figcaption{font-size:.9rem;color:#555}
.clips{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem}
.clips figure{margin:0;border:1px solid #ddd;padding:.6rem}.clips img{width:100%;image-rendering:pixelated}
.masks{display:inline-block;vertical-align:top;width:calc(50% - 1rem);min-width:18rem;margin:.5rem}
.masks img{max-width:100%}
"""


def check_file(path: Path) -> None:
    """Refuses what no page can be written to, before anything is read."""
    if path.suffix != ".html":
        raise UserError(f"--share writes one page, so its FILE must end in .html, not be {path.name!r}")
    if not path.parent.is_dir():
        raise UserError(f"--share: there is no folder {path.parent}")
    if path.is_dir():
        raise UserError(f"--share: {path} is a folder, not a file that could be written")
    check_link(path, path.parent)


def write(answer: Answer, results: Path, data: Path, path: Path) -> tuple[int, list[str]]:
    """Writes the page; its size in bytes, and a sentence for each thing that it lacks.

    data: folder of prepared data, for the clips. Raises `UserError` where the report without clips and masks
    is larger than a page may be.
    """
    text, lacking = shared(answer, results, data)
    write_atomic(path, text)
    return len(text.encode()), lacking


def shared(answer: Answer, results: Path, data: Path) -> tuple[str, list[str]]:
    """The page, and a sentence for each thing that it lacks."""
    words, mark, origin = page(answer, ()).partition(f"\n## {ORIGIN}\n")
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(answer.asked.name)}: {html.escape(answer.asked.question)}</title>\n"
        f"<style>{STYLE}</style></head>\n<body><main>"
    )
    fixed = [head, to_html(words), *_figures(pictures(answer, results))]
    end = [to_html(mark + origin), "</main></body></html>\n"]
    room = LARGEST - sum(len(part.encode()) + 1 for part in (*fixed, *end))
    if room < 0:
        size = f"{(LARGEST - room) / 1e6:.1f} MB"
        raise UserError(
            f"the report of study {answer.asked.name} takes {size}; {LARGEST / 1e6:.0f} is the most"
        )
    media, lacking, left_out = list[str](), list[str](), 0
    for part in (*_masks(masks(answer, results)), *_clips(pair(answer, results, data), lacking)):
        size_of_part = len(part.encode()) + 1
        if size_of_part > room:
            left_out += 1
            continue
        media.append(part)
        room -= size_of_part
    if left_out:
        lacking.append(
            f"Left out were {left_out} groups of clips or masks: a page has {LARGEST / 1e6:.0f} MB."
        )
    return "\n".join([*fixed, *media, *end]), lacking


def _figures(found: Sequence[Picture]) -> Iterator[str]:
    """Each picture, the first with the code of plotly, which all of them share."""
    if found:
        yield "<h2>Figures</h2>"
    for i, picture in enumerate(found):
        chart = picture.moving.to_html(
            full_html=False,
            include_plotlyjs=i == 0,
            div_id=f"figure-{picture.name}",
            config={"displaylogo": False, "responsive": True},
        )
        yield f"<figure>{chart}<figcaption>{html.escape(picture.caption)}</figcaption></figure>"


def _masks(found: Sequence[Mask]) -> Iterator[str]:
    """One part a cell, so that what is too large is left out alone."""
    if not found:
        return
    yield (
        "<h2>What is hidden</h2>\n<p>The first clips of val, and below each what the encoder of a run of the "
        "cell saw of them; a line stands for a hidden word.</p>"
    )
    for mask in found:
        name = html.escape(mask.cell)
        image = f'<img src="{address("image/png", mask.picture)}" alt="Clips and their masks: {name}">'
        yield f'<figure class="masks">{image}<figcaption>{name}</figcaption></figure>'


def _clips(found: Pair | None, lacking: list[str]) -> Iterator[str]:
    """Clips of both directions; what cannot be shown is said there, and with its reason in `lacking`."""
    if found is None:
        return
    title = "<h2>Clips that one cell gets right and the other wrong</h2>"
    try:
        queries = found.found
    except UserError as error:
        lacking.append(f"No queries to show: {error}.")
        return
    clips, plays = None, "The clips play as the models saw them."
    try:
        clips = found.clips()
    except UserError as error:
        lacking.append(f"Nothing plays: {error}.")
        plays = "The clips themselves were not at hand when this page was made."
    several = queries["seeds"][0] > 1
    place = "comes first" if found.within == 1 else f"is among the first {found.within}"
    median = "; ranks are medians over seeds" if several else ""
    many = queries["clip"].n_unique()
    yield f"{title}\n<p>Right: the clip {place} of {many} for its caption{median}. {plays}</p>"
    for first in (True, False):
        name = html.escape(found.names[not first])
        count = found.only(first).height
        more = "Right with more seeds" if several else "Right only"
        shown = f", {min(count, CLIPS)} of which are shown" if count > CLIPS else ""
        cards = [_card(one, found.names) for one in found.shown(first, clips)]
        queries_of = f"{count} quer{'y' if count == 1 else 'ies'}"
        yield (f'<h3>{more}: {name} ({queries_of}{shown})</h3>\n<div class="clips">{"".join(cards)}</div>')


def _card(one: Shown, names: tuple[str, str]) -> str:
    caption = html.escape(one.caption)
    clip = f'<img src="{address("image/webp", one.clip)}" alt="{caption}">' if one.clip else ""
    sides = zip(names, one.ranks, one.hits, strict=True)
    ranks = "".join(
        f"<br>{html.escape(name)}: rank {rank:g}"
        + (f", right with {hits} of {one.seeds} seeds" if one.seeds > 1 else "")
        for name, rank, hits in sides
    )
    return f"<figure>{clip}<figcaption><strong>{caption}</strong>{ranks}</figcaption></figure>"
