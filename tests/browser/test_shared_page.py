"""The page of `--share`, opened from disk by a person without a network."""

import pytest
from playable import make_playable
from synthetic import BASE, RATIOS, write_study

from workbench.report.__main__ import main

pytestmark = pytest.mark.timeout(600, method="thread")


def test_a_shared_page_needs_no_network(chromium, tmp_path):
    write_study(
        tmp_path, "ratios", RATIOS, (0, 1), baseline=BASE, steps=40, question="<img src=http://a/b.png>"
    )
    make_playable(tmp_path, "ratios")
    file = tmp_path / "page.html"
    assert main(["ratios", "--results", str(tmp_path), "--share", str(file)]) == 0
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    context.set_offline(True)
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(file.as_uri(), wait_until="commit", timeout=300_000)
    for name in ("sweep", "grid", "cost", "curves", "effects"):
        page.wait_for_selector(f"#figure-{name} .main-svg", state="attached", timeout=300_000)
    page.wait_for_load_state("load", timeout=300_000)
    shown = page.eval_on_selector_all(
        "main img", "images => images.map(image => image.complete && image.naturalWidth)"
    )
    assert len(shown) == 18
    assert all(shown)
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420, "what is wide scrolls by itself"
    assert errors == []
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == {file.as_uri()}
    # The page itself forbids what no one should try.
    page.evaluate("fetch('http://127.0.0.1:1/').catch(() => {})")
    page.wait_for_timeout(200)
    assert any("Content Security Policy" in error for error in errors)
    context.close()
