"""Reports that an earlier version wrote are checked by the words of now."""

import re

import pytest

from workbench import tasks
from workbench.report.check.former import HEADINGS, renewed

SAVED = "reports/ratios/answer.md"
CLAIM = {
    "text": "masking is better", "figure": "difference", "metric": "t2v_r1",
    "arm": {"video_ratio": 0.5, "text_ratio": 0.25}, "at_least": 200.0, "paper": "far better",
}  # fmt: skip


def test_a_page_in_former_words_still_matches(ratios, report):
    results = ratios(claims=[CLAIM])
    report("ratios")
    path = results / SAVED
    page = path.read_text()
    former = re.sub(r"\| does not hold *\|", "| does not |", page)
    assert former != page
    for then, now in HEADINGS.items():
        former = former.replace(f"## {now}\n", f"## {then}\n")
    assert "## What each choice does on average" in former
    path.write_text(former)
    assert report("ratios", "--check", path)[0] == 0
    path.write_text(former.replace("| does not |", "| open |"))
    code, out, _ = report("ratios", "--check", path)
    assert (code, "verdict was open, is now does not hold" in out) == (1, True)


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("mean overlap of found and true times (%)", "test/grounding_miou"),
        ("mean overlap of found and true times: any segment (%)", "test/grounding_miou_chance"),
        (
            "times found with an overlap of 0.5: always the segment that suits the training clips (%)",
            "test/grounding_r1_iou50_prior",
        ),
        (
            "val times found with an overlap of 0.7: the best segment of whole steps (%)",
            "val/grounding_r1_iou70_ceiling",
        ),
        ("places in the named actor's box (%)", "test/pointing"),
        ("places in an actor's box that are in the named one's (%)", "test/pointing_choice"),
        ("overlap of the best region with the named actor's box (%)", "test/pointing_iou"),
        ("named actors found by the middle of the picture (%)", "test/pointing_centre"),
        ("named actors found by any place (%)", "test/pointing_area"),
        ("named actors found by the middle of an actor, whichever (%)", "test/pointing_foil"),
        ("captions told from those with their actions swapped (%, chance 50)", "test/order_pairs"),
        ("captions told from 4 that differ in one part (%, chance 20)", "test/foils"),
        ("captions told from 4 of another first action (%, chance 20)", "test/foils_first"),
        (
            "swapped captions chosen for exchanged halves (jumps are visible) (%, chance 50)",
            "test/order_halves",
        ),
        ("captions of the reversal chosen for reversed frames (%, chance 50)", "test/order_reversal"),
        ("text-to-video R@1, best 20 judged as pairs (%) after stage 0", "test/stage0_rerank20_t2v_r1"),
        ("video-to-text R@5, all pairs of a gallery of 100 (%)", "test/gallery100_v2t_r5"),
        ("captions that the grammar makes (%)", "test/caption_parsed"),
        (
            "parts of captions that are right: the commonest value of every part (%)",
            "test/caption_slots_common",
        ),
        ("captions with all parts right (%)", "test/caption_exact"),
        ("class by a linear probe (%)", "test/probe_label_linear"),
        ("first action by 20 nearest neighbours (%)", "test/probe_first_knn"),
        ("colour by a linear probe of pixels (%)", "test/probe_colour_pixels"),
        ("shape, always the commonest (%)", "test/probe_shape_majority"),
        ("class, always the commonest (%)", "test/prompted_label_majority"),
        ("text gflops per clip", "cost/text_gflops_per_clip"),
        ("video gflops per clip", "cost/video_gflops_per_clip"),
    ],
)
def test_former_heads_are_those_of_now(former, name):
    assert former != tasks.head(name)
    assert renewed(former) == tasks.head(name)


def test_words_of_now_stay():
    for name in tasks.metrics():
        head = tasks.head(name if "/" in name else f"test/{name}")
        assert renewed(head) == head
