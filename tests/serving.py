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
def dashboard(results, log):
    """Serves a results folder; yields (address, process). The log holds what the server printed.

    It is started in the folder of the log, since the settings must not depend on where one stands.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = str(ROOT / "app/dashboard.py")
    command = [sys.executable, "-m", "streamlit", "run", script, "--server.headless=true"]
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
