"""One file to send to somebody: the whole answer is in it, nothing is fetched, and it can be checked."""

import re

import pytest
from playable import make_playable

from workbench.answer.results import answer
from workbench.answer.study_record import load
from workbench.report.page import page
from workbench.report.saved import read_markdown
from workbench.report.share import page as shared_page
from workbench.report.share.markup import to_html, to_markdown


@pytest.fixture
def shared(ratios, results, report, tmp_path):
    """The page of the study `ratios`, and what the command printed."""
    make_playable(ratios(seeds=(0, 1, 2), question="<b>How</b> much? ![x](http://a/b.png)"), "ratios")
    file = tmp_path / "to send.html"
    code, out, err = report("ratios", "--share", file)
    assert (code, err) == (0, "")
    return file, out


def test_all_of_it_is_in_one_file(shared, results):
    file, out = shared
    text = file.read_text()
    assert out.splitlines()[-1] == f"{file} ({file.stat().st_size / 1e6:.1f} MB)"
    assert file.stat().st_size < shared_page.LARGEST
    assert text.count("data:image/webp") == 12
    assert text.count('<figure class="masks"><img src="data:image/png') == 6
    assert all(f'id="figure-{name}"' in text for name in ("sweep", "grid", "cost", "effects"))
    assert "<script>window.PlotlyConfig" in text
    without_code = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    sources = re.findall(r'(?:src|href)="([^"]{5})', without_code)
    assert set(sources) == {"data:"}
    assert "<b>How" not in text
    assert "caption &lt;b&gt;" in text
    assert str(results.parent) not in text


def test_what_it_says_is_checked(shared, report):
    file, _ = shared
    code, out, _ = report("ratios", "--check", file)
    assert code == 0
    assert "Every cell: 6 of 6 rows" in out
    text = file.read_text()
    score = re.search(r"<td[^>]*>(\d\d\.\d) \[", text)[1]
    assert score
    for old, new in ((f">{score} [", ">99.9 ["), ("text-to-video R@1 of", "text-to-video R@1 near")):
        file.write_text(text.replace(old, new, 1))
        code, out, _ = report("ratios", "--check", file)
        assert code == 1
        assert "99.9" in out or "the answer is now" in out


def test_the_words_of_a_report_come_back_from_its_page(ratios):
    found = answer(load(ratios(), "ratios"), ratios())
    words = page(found, ())
    back = to_markdown(f"<script>1 < 2</script>{to_html(words)}")
    assert read_markdown(back) == read_markdown(words)
    assert [line for line in back.splitlines() if line.startswith("- ")] == [
        line for line in words.splitlines() if line.startswith("- ")
    ]


def test_what_is_not_at_hand_is_said_without_places(ratios, report, results, tmp_path):
    ratios(seeds=(0, 1))
    file = tmp_path / "page.html"
    code, out, _ = report("ratios", "--share", file)
    assert code == 0
    assert out.splitlines()[-1].startswith("Nothing plays: ")
    text = file.read_text()
    assert "The clips themselves were not at hand" in text
    assert "data:image/webp" not in text
    assert report("ratios", "--check", file)[0] == 0


def test_a_page_does_not_grow_beyond_its_limit(ratios, report, tmp_path, monkeypatch):
    make_playable(ratios(seeds=(0, 1)), "ratios")
    file = tmp_path / "page.html"
    report("ratios", "--share", file)
    full = file.stat().st_size
    monkeypatch.setattr(shared_page, "LARGEST", full - 100)
    code, out, _ = report("ratios", "--share", file)
    assert code == 0
    assert file.stat().st_size < full - 100
    assert "Left out were " in out
    monkeypatch.setattr(shared_page, "LARGEST", 1_000_000)
    code, _, err = report("ratios", "--share", file)
    assert (code, err.count("\n")) == (2, 1)
    assert "is the most" in err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--share", "page.pdf"], "its FILE must end in .html, not be 'page.pdf'"),
        (["--share", "nowhere/page.html"], "--share: there is no folder nowhere"),
        (["--share", "folder.html"], "folder.html is a folder, not a file"),
        (["--share", "page.html", "--check", "page.html"], "give only one of them"),
        (["--share", "page.html", "--rows", "video_ratio"], "--share holds the whole answer"),
        (["--share", "page.html", "--data-root", "nowhere"], "--data-root: there is no folder nowhere"),
        (["--data-root", "."], "--data-root is where --share finds clips"),
        (["--check", "page.html", "--rows", "video_ratio"], "page.html is a page, not a table in a layout"),
    ],
)
def test_a_wrong_option_is_one_sentence(ratios, report, monkeypatch, tmp_path, given, said):
    ratios(seeds=(0,))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    if "--check" in given:
        (tmp_path / "page.html").write_text("<p>A page.</p>")
    code, _, err = report("ratios", *given)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err
