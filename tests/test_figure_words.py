"""Names and titles in figures: whole, harmless, and with room for all of their lines."""

import pytest
from cell_tables import METRIC, cells_of, two_axes
from matplotlib.text import Text

from workbench import figures, stats
from workbench.figures import paper
from workbench.figures.style import BESIDE_AXIS, broken, label, wrapped


def test_a_long_name_has_two_lines_and_a_title_is_whole_so_that_a_narrow_page_has_room():
    assert wrapped("90 % of the video hidden") == "90 % of the video hidden"
    two = "90 % of the video hidden, 50 % of the text hidden"
    assert wrapped(two) == "90 % of the video hidden,<br>50 % of the text hidden"
    assert wrapped("x" * 40) == "x" * 40
    assert wrapped(f"<b>{'x' * 30}, {'y' * 90}").startswith(f"&lt;b&gt;{'x' * 30},<br>yy")
    title = "difference to no video hidden, no text hidden (points of R@1)"
    assert broken(title) == "difference to no video hidden,<br>no text hidden (points of R@1)"
    cells = {two: {0: [1.0, 2.0]}, "base": {0: [0.0, 1.0]}}
    table = figures.effects_table(stats.compare_family(cells, "base"), {})
    shown, plain = (figures.effects_figure(table, title=words) for words in (title, "difference"))
    assert shown.layout.yaxis.ticktext == (wrapped(two),)
    assert shown.layout.height - plain.layout.height == shown.layout.margin.b - plain.layout.margin.b > 0


LONG = "test/order_pairs"


def pictures_of_a_long_title():
    """Every picture for a paper whose metric has more words than an axis has room for on one line."""
    cells = two_axes().rename({METRIC: LONG})
    yield paper.sweep(figures.sweep_table(cells, ["ratio", "strategy"], LONG), axis="ratio", metric=LONG,
                      connected=True)  # fmt: skip
    yield paper.grid(figures.grid_table(cells, ["strategy", "ratio"], LONG), row="strategy",
                     column="ratio", metric=LONG)  # fmt: skip
    table = figures.effects_table(stats.compare_family({"a": {0: [1.0]}, "b": {0: [0.0]}}, "b"), {})
    yield paper.effects(table, title=f"difference to b ({label(LONG)})")


def test_the_title_of_an_axis_for_a_paper_is_within_the_picture_however_long_it_is():
    assert len(label(LONG)) > 60
    for figure in pictures_of_a_long_title():
        figure.draw_without_rendering()
        width, height = figure.bbox.size
        for axes in figure.axes:
            for title in filter(Text.get_text, (axes.xaxis.label, axes.yaxis.label)):
                box = title.get_window_extent()
                assert 0 <= box.x0 <= box.x1 <= width, title
                assert 0 <= box.y0 <= box.y1 <= height, title


def names_below(*parts):
    cells = cells_of([{"part": part} for part in parts], [float(i) for i in range(len(parts))])
    table = figures.sweep_table(cells, ["part"], METRIC)
    axes = paper.sweep(table, axis="part", metric=METRIC, connected=False).axes[0]
    return [text.get_text() for text in axes.get_xticklabels()], axes.get_xticklabels()[0].get_rotation()


def test_many_names_below_an_axis_are_all_there():
    many = [f"system {chr(97 + i)}" for i in range(18)]
    names, rotation = names_below(*many)
    assert names == many
    assert rotation == 60
    cells = cells_of([{"part": part} for part in many], [float(i) for i in range(len(many))])
    figure = figures.sweep_figure(figures.sweep_table(cells, ["part"], METRIC), axis="part", metric=METRIC)
    assert list(figure.layout.xaxis.ticktext) == many


def test_a_long_name_beside_an_interval_for_a_paper_is_whole():
    name = "no text rather than half of it hidden, beside 90 % of the video"
    table = figures.effects_table(stats.compare_family({name: {0: [1.0]}, "b": {0: [0.0]}}, "b"), {})
    (shown,) = paper.effects(table, title="difference").axes[0].get_yticklabels()
    assert shown.get_text().split() == name.split()


def test_names_below_an_axis_for_a_paper_have_several_lines_or_are_turned_where_a_word_is_too_long():
    assert names_below("one", "two") == (["one", "two"], 0)
    several = names_below("as published", "a perceptron over both", "contrastive encoder alone")
    assert several == (["as published", "a perceptron\nover both", "contrastive\nencoder alone"], 0)
    long = ("as published", f"without {'x' * 20}", "contrastive encoder alone")
    assert names_below(*long) == (list(long), 30)


def test_the_title_of_an_axis_on_a_page_has_room_for_all_of_its_lines():
    sweep = figures.sweep_table(two_axes().rename({METRIC: LONG}), ["ratio", "strategy"], LONG)
    axis = figures.sweep_figure(sweep, axis="ratio", metric=LONG).layout.yaxis
    assert axis.title.text == broken(label(LONG), BESIDE_AXIS)
    assert axis.title.text.count("<br>") == 1
    assert axis.automargin


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test/t2v_r1", "text-to-video R@1 (%)"),
        ("val/t2v_medr", "val text-to-video median rank"),
        ("test/stage0_t2v_r5", "text-to-video R@5 (%) after stage 0"),
        ("test/msrvtt:v2t_r1", "video-to-text R@1 (%) on msrvtt"),
        ("cost/peak_memory_gb", "peak memory (GB)"),
        ("seconds", "training time (s)"),
        ("valid/t2v_r1", "valid/t2v r1"),
        ("test/somebodys_own", "test/somebodys own"),
    ],
)
def test_a_metric_is_called_as_it_calls_itself_and_an_unknown_one_by_its_name(name, words):
    assert label(name) == words
