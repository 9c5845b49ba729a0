"""`--notify`: a real server hears how a study ends; nobody being there changes nothing."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from workbench.errors import UserError
from workbench.runner import notify
from workbench.runner.notify import Hook
from workbench.study.outcome import Outcome


@pytest.fixture
def heard():
    """Messages that a server of this machine has received, and its address; `.code` is what it answers."""
    found = SimpleNamespace(messages=[], code=200)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.messages.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(found.code)
            self.end_headers()

        def log_message(self, *words):
            """Not on the screen."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hooks/secret"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def failing(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("code", "state"), [(0, "complete"), (3, "gaps"), (130, "interrupted"), (2, "failed")]
)
def test_the_end_is_told_with_how_it_ended(heard, code, state):
    assert Hook(heard.url, "mask_ratio").around(lambda: code) == code
    [(path, kind, told)] = heard.messages
    assert (path, kind) == ("/hooks/secret", "application/json")
    assert (told["event"], told["study"], told["state"], told["reason"]) == ("end", "mask_ratio", state, "")
    assert told["text"].startswith("Study mask_ratio: ")
    assert told["text"].endswith(".")


def test_an_error_is_told_without_passwords_and_goes_on_its_way(heard):
    for error, said in (
        (UserError("postgresql://me:secret@host/db is away"), "postgresql://me:***@host/db is away"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (KeyboardInterrupt(), ""),
    ):
        with pytest.raises(type(error)):
            Hook(heard.url, "own").around(failing(error))
        assert heard.messages.pop()[2]["reason"] == said


def test_a_run_that_failed_for_good_is_told_once(heard):
    lease = SimpleNamespace(run=SimpleNamespace(cell=SimpleNamespace(label="ratio=0.9"), seed=2))
    failed = Outcome(state="failed", failure="not_finite", reason="loss is nan")
    hook = Hook(heard.url, "own")
    hook.ended(lease, failed, over=False)
    hook.ended(lease, Outcome(state="complete"), over=True)
    assert heard.messages == []
    hook.ended(lease, failed, over=True)
    [(_, _, told)] = heard.messages
    assert (told["event"], told["cell"], told["seed"]) == ("failure", "ratio=0.9", 2)
    assert told["reason"] == "not_finite: loss is nan"


def test_what_goes_wrong_with_it_is_said_and_fails_nothing(heard, capsys, monkeypatch):
    monkeypatch.setattr(notify, "TIMEOUT", 0.5)
    heard.code = 500
    assert Hook(heard.url, "own").around(lambda: 0) == 0
    err = capsys.readouterr().err
    assert err.startswith("warning: http://127.0.0.1 was not notified (HTTPError: ")
    assert "secret" not in err
    assert Hook("http://127.0.0.1:9", "own").around(lambda: 0) == 0
    assert "was not notified (URLError: " in capsys.readouterr().err


def test_without_an_address_nobody_is_told(capsys):
    assert Hook("", "own").around(lambda: 0) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "url", ["example.org/hook", "ftp://host/x", "https://", "http://host:port/", "http://a b/"]
)
def test_what_is_no_address_of_the_web_is_refused_in_one_sentence(url):
    with pytest.raises(
        UserError, match="--notify must be an address that begins with http:// or https://"
    ) as caught:
        notify.check(url)
    assert "\n" not in str(caught.value)


def test_a_study_tells_of_its_end_by_the_real_command_line(heard, write_study, study, capsys):
    name = write_study(hidden=(0.0,))
    assert study(name, "--notify", "nowhere") == 2
    err = capsys.readouterr().err
    assert err == "error: --notify must be an address that begins with http:// or https:// and names a host\n"
    assert study(name, "--notify", heard.url) == 0
    assert [told["text"] for _, _, told in heard.messages] == ["Study fake: all runs are complete."]
