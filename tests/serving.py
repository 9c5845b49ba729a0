"""The dashboard as a person meets it: a server of its own and the system's chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def dashboard(results, log, script=ROOT / "app/dashboard.py"):
    """Serves a results folder with the dashboard, or with another script; yields (address, process).

    The log holds what the server printed.
    It is started in the folder of the log, since the settings must not depend on where one stands.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.headless=true"]
    command += [f"--server.port={port}", "--", str(Path(results).resolve())]
    with open(log, "wb") as out:
        server = subprocess.Popen(command, cwd=Path(log).parent, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(server, address, log)
        yield address, server
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            raise


def _wait(server, address, log, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise RuntimeError(f"the dashboard did not start: {Path(log).read_text(errors='replace')[-2000:]}")


@contextmanager
def browser():
    """The system's chromium; its sandbox is off for root, who cannot have one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        yield opened
        opened.close()


def visit(page, address, **parameters):
    """Opens the dashboard at an address and waits until nothing moves any more."""
    page.goto(f"{address}/?{urlencode(parameters, doseq=True)}")
    settled(page)


def settled(page, seconds=120):
    """Waits until the page's script has ended and its elements are drawn."""
    page.wait_for_selector(
        '[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=seconds * 1000
    )
    page.wait_for_selector('[data-testid="stSkeleton"]', state="detached", timeout=seconds * 1000)


_PLACE = """(picture, [fields, which]) => {
  picture.scrollIntoView({ block: "center" });
  const cells = ({ type, customdata, marker }) =>
    type === "scatter" && customdata && (marker?.opacity === 0) === fields;
  const shown = picture.calcdata.filter(([first]) => cells(first.trace));
  const [trace, point] = shown.flatMap((points) => points.map((point) => [points[0].trace, point]))[which];
  const axis = (letter) => picture._fullLayout[trace[letter + "axis"].replace(letter, letter + "axis")];
  const box = picture.getBoundingClientRect();
  return {
    x: box.left + axis("x")._offset + axis("x").c2p(point.x),
    y: box.top + axis("y")._offset + axis("y").c2p(point.y),
    key: [...trace.customdata[point.i]].pop(),
  };
}"""
"""Where on the page plotly has drawn a point whose last custom datum is the key of a cell."""
_HOVERED = """(key) => [...document.querySelectorAll(".js-plotly-plot:hover")].some(
  (picture) => (picture._hoverdata ?? []).some((point) => [point.customdata].flat().pop() === key))"""
"""Whether plotly has noticed that the mouse is over that point: a click means what it has noticed before."""


def click_cell(page, picture, which, *, fields=False):
    """Clicks the point of a picture, or the field of a map, that stands for a cell; returns the cell's key.

    picture: a locator of `.js-plotly-plot`; which: number among its points, or fields, in their order.
    """
    from playwright.sync_api import TimeoutError as Late

    for patience in (5_000, 20_000, 60_000):  # a page that moves in between is asked for the place again
        place = picture.evaluate(_PLACE, [fields, which])
        page.mouse.move(place["x"] + 2, place["y"] + 2)
        page.mouse.move(place["x"], place["y"])
        try:
            page.wait_for_function(_HOVERED, arg=place["key"], timeout=patience)
        except Late:
            continue
        page.mouse.click(place["x"], place["y"])
        return place["key"]
    raise AssertionError(f"plotly never noticed the mouse over the cell {place['key']}")
