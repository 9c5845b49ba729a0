"""Choices and cells are said as people say them."""

import pytest

from workbench import naming
from workbench.errors import UserError

SAYS = {"video": "{share} video hidden", "lr": "learning rate {value}"}


def test_a_share_is_none_or_so_many_percent():
    assert naming.choice("video", 0.9, SAYS) == "90 % of the video hidden"
    assert naming.choice("video", 0.125, SAYS) == "12.5 % of the video hidden"
    assert naming.choice("video", 0.0, SAYS) == "no video hidden"
    assert naming.choice("video", [0.5, 0.9], SAYS) == "50 % or 90 % of the video hidden"
    assert naming.choice("video", (0.0, 0.9), SAYS) == "0 % or 90 % of the video hidden"


def test_a_value_stands_as_it_is_and_an_axis_without_words_with_its_name():
    assert naming.choice("lr", 3e-4, SAYS) == "learning rate 0.0003"
    assert naming.choice("part", "published", SAYS) == "part=published"
    assert naming.choice("part", ["a", None], SAYS) == "part=a or None"


def test_a_cell_has_commas_where_words_have_spaces():
    assert naming.cell({"video": 0.9, "lr": 0.1}, SAYS) == "90 % of the video hidden, learning rate 0.1"
    assert naming.cell({"a": 1, "b": 2}, SAYS) == "a=1 b=2"
    assert naming.cell({}, SAYS) == ""


def test_an_axis_is_called_by_its_words_without_a_choice():
    assert [naming.axis(name, SAYS) for name in ("video", "lr", "part")] == [
        "video hidden",
        "learning rate",
        "part",
    ]


@pytest.mark.parametrize(
    "words", ["", "hidden", "{share} of {value}", "{share} and {share}", "{ratio} hidden"]
)
def test_words_have_one_place_for_the_choice(words):
    with pytest.raises(UserError, match="have one place for the choice"):
        naming.check({"video": words})
    naming.check(SAYS)


def test_words_for_no_axis_are_refused():
    with pytest.raises(UserError, match="says 'vidio' in words, but its axes are video, text"):
        naming.check_axes({"vidio": "{value}"}, ["video", "text", "video"])
