"""What the view Predictions draws of places, and says of them: computed, without a page."""

import numpy as np

from app.predictions.grounding import line_of_time
from app.predictions.grounding import verdict as times
from app.predictions.pointing import FOUND, NAMED, OTHER, marked, verdict
from app.predictions.selection import verdict as read

BOXES = [[0.0, 0.25, 0.5, 0.75], [0.75, 0.5, 1.0, 1.0]]
ANSWER = {
    "places": [[0.25, 0.5], [0.9, 0.9], [0.6, 0.1]],
    "regions": [[0.125, 0.25, 0.375, 0.75], [0.8, 0.8, 1.0, 1.0], [0.5, 0.0, 0.7, 0.2]],
    "actors": [BOXES, BOXES, [None, BOXES[1]]],
    "hits": [[True, False], [False, True], [False, False]],
}


def test_true_boxes_the_region_and_its_middle_are_outlined():
    clip = np.full((3, 8, 8, 3), 90, np.uint8)
    found = marked(clip, ANSWER)
    assert found.shape == (3, 192, 192, 3)
    assert found[0, 60, 0].tolist() == list(NAMED), "the left edge of the named one's box"
    assert found[0, 100, 190].tolist() == list(OTHER)
    assert found[0, 96, 48].tolist() == list(FOUND), "the place"
    assert found[0, 60, 24].tolist() == list(FOUND), "the left edge of the region"
    assert found[0, 10, 10].tolist() == [90, 90, 90]
    assert not (found[2] == NAMED).all(-1).any(), "it is not seen there"
    assert (clip == 90).all()


def test_patches_have_a_place_and_no_region():
    found = marked(np.zeros((3, 64, 64, 3), np.uint8), ANSWER | {"regions": []})
    assert (found[0] == FOUND).all(-1).sum() == 2 * 13 - 1


def test_the_verdict_counts_frames_in_which_the_named_one_is_seen():
    assert verdict(ANSWER) == (
        "The place lies in its true box in 1 of the 2 frames in which it is seen, in the other one's in 1."
    )
    alone = ANSWER | {"actors": [[BOXES[0]]] * 3, "hits": [[True], [True], [False]]}
    assert verdict(alone) == "The place lies in its true box in 2 of the 3 frames in which it is seen."
    assert "not known" in verdict(ANSWER | {"actors": [[]] * 3, "hits": [[]] * 3})


def test_a_line_of_time_has_a_true_and_a_found_bar_for_each_query():
    queries = [
        {
            "words": "it <b>rises",
            "start": 0.0,
            "end": 0.5,
            "found_start": 0.25,
            "found_end": 0.75,
            "overlap": 1 / 3,
        },
        {"words": "it spins", "start": 0.5, "end": 1.0, "found_start": 0.5, "found_end": 1.0, "overlap": 1.0},
    ]
    true, found = line_of_time(queries).data
    assert (true.name, true.base, true.x) == ("true", (0.0, 50.0), (50.0, 50.0))
    assert (found.name, found.base, found.x) == ("found", (25.0, 50.0), (50.0, 50.0))
    assert "<b>" not in str(true.y)
    assert "33 %;" in times(queries)


def test_the_verdict_counts_frames_and_patches_that_are_read():
    words = read({"selected": [True, False, True], "tokens": 48, "hidden": 24, "read": 12})
    assert "**2 of 3 frames**" in words
    assert "hides 24 and the encoder drops 12" in words
