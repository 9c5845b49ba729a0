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


def test_an_axis_is_called_in_the_terms_of_the_field():
    says = SAYS | {"unmasked_share": "{share} budget unmasked"}
    names = {
        "video": "video mask ratio",
        "lr": "learning rate",
        "part": "part",
        "unmasked_share": "share of the budget unmasked",
        "text_ratio": "text mask ratio",
        "batch_size": "batch size",
    }
    assert {name: naming.axis(name, says) for name in names} == names


def test_a_run_is_named_in_a_few_letters_that_differ_at_the_front():
    assert naming.brief({"video_ratio": 0.9, "text_ratio": 0.0}, 0) == "v0.90 t0.00 s0"
    assert naming.brief({"strategy": "tube", "ratio": 0.75, "words": None}, 12) == "tube r0.75 s12"
    assert naming.brief({"size": 256, "share": 0.125, "lr": 3e-4}, 1) == "si256 sh0.125 l0.0003 s1"
    assert naming.brief({"frozen": True}, 1) == "frozen=True s1"
    assert naming.brief({}, 1) == "s1"


def test_a_sentence_begins_with_a_capital_but_no_name_is_changed():
    assert [naming.first(word) for word in ("text-to-video R@1", "mIoU (%)", "R@1")] == [
        "Text-to-video R@1",
        "mIoU (%)",
        "R@1",
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
