"""Entry point of the dashboard: finds views and study, reads the address, and shows the page."""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import pkgutil
import shlex
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from app.runs import Runs
    from app.store import Store

# Seconds between looks at the results folder while a page stands. (Streamlit would show a string here.)
LOOK = 2.5

# So many new objects before Python looks for unused cycles among them. Ten thousand runs are millions of
# objects that stay, and looking through them at every 700 took a quarter of the first view.
OBJECTS = 50_000

# The title of the browser's tab, kept in the session so that it does not flicker at each run of the script.
TITLE = "title of the tab"

# Streamlit's buttons of a table stand above it, on a telephone always: below the row before, not upon it.
ROOM = (
    "<style>@media (max-width: 640px), (hover: none) {[data-testid=stElementContainer]"
    ":has([data-testid=stDataFrame]) {margin-top: 2rem}}</style>"
)

# `streamlit run` puts this folder on the path, not the one that holds `app` and `workbench`.
ROOT = str(Path(__file__).resolve().parents[1])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)


def main() -> None:
    """One page: sidebar with study and views, then the chosen view."""
    gc.set_threshold(OBJECTS, 20, 20)
    from app import address
    from app.runs import Runs
    from app.store import open_store
    from workbench.errors import UserError

    # No icon: an emoji or a Material name would be fetched from the internet.
    st.set_page_config(page_title=st.session_state.get(TITLE, "Workbench"), layout="wide")
    st.html(ROOM)
    address.begin()
    results = _results()
    store = open_store(str(results))
    studies = store.studies()
    views = _views()
    above = st.container()
    with st.sidebar:
        st.title("Workbench")
        if not studies:
            name = ""
        else:
            name = address.choose(
                "study", "Study", {s: s for s in studies}, _latest(results, studies), pin=True,
                on_change=lambda: address.forget("study", "view"),
            )  # fmt: skip
        titles = {name: view.TITLE for name, view in views.items()}
        first = next(iter(titles))
        chosen = address.choose("view", "View", titles, first, form="radio", on_change=address.leave)
    from app import browser_scripts

    st.session_state[TITLE] = f"{titles[chosen]} · {name}" if name else "Workbench"
    st.set_page_config(page_title=st.session_state[TITLE])
    browser_scripts.close_menu(f"{name} {chosen}")
    if not name:
        st.fragment(_wait, run_every=LOOK)(store)
        _empty(results)
    else:
        view = views[chosen]
        try:
            runs = Runs.of(store, name, studies)
            with above:
                st.fragment(_watch, run_every=LOOK)(runs, getattr(view, "FOLLOWS", False))
                if runs.asked is not None and runs.asked.smoke:
                    st.badge("Smoke test: it only tries the whole path and says nothing", color="orange")
            view.render(runs)
        except UserError as error:
            from app.markdown import escaped

            st.error(escaped(str(error)))
    if found := address.complaints():
        from app.markdown import escaped

        above.warning(escaped(" ".join(found)))
    address.commit()
    _settle(name, chosen)


@st.cache_resource(show_spinner=False)
def _settle(study: str, view: str) -> None:
    """Takes what a view has loaded out of the search for unused cycles, which Streamlit does after every run
    of the script: among all modules and tables it took longer than the script itself."""
    gc.collect()
    gc.freeze()


def _wait(store: Store) -> None:
    """Reloads the page when the first study exists."""
    if store.studies():
        st.rerun()


def _watch(runs: Runs, follows: bool) -> None:
    """Looks at the run directories while the page stands. A page that follows is drawn anew; any other says
    that its numbers are older, since they should not move under a reader's eyes."""
    now = runs.now()
    new = [study for study in now.store.studies() if study not in runs.studies]
    if not new and now.version == runs.version and (not follows or now.standing == runs.standing):
        return
    if follows:
        st.rerun()
    from app.markdown import escaped

    left, right = st.columns([5, 1], vertical_alignment="center")
    left.warning(escaped(_since(runs, now, new)))
    if right.button("Show the new ones", width="stretch"):
        st.rerun()


def _since(runs: Runs, now: Runs, new: Sequence[str]) -> str:
    """A sentence on changes since the page was made."""
    said = [f"A study has begun since: {', '.join(new)}."] if new else []
    if now.version != runs.version:
        more = now.done.height - runs.done.height
        what = "the plan or its runs have changed"
        if more > 0:
            what = f"{more} more {'run has' if more == 1 else 'runs have'} ended"
        said.insert(0, f"This page shows older numbers: {what} since it was opened.")
    return " ".join(said)


def _results() -> Path:
    parser = argparse.ArgumentParser(prog="streamlit run app/dashboard.py --", allow_abbrev=False)
    default = os.environ.get("WORKBENCH_RESULTS", "results")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of all results")
    parser.add_argument("--results", type=Path, default=Path(default), help="the same, as an option")
    ours = Path(sys.argv[0]).name == Path(__file__).name  # not so where a test runs the page
    try:
        options = parser.parse_args(sys.argv[1:] if ours else [])
    except SystemExit:  # argparse has told the terminal; a page cannot exit
        st.error("The dashboard takes one argument, the folder of all results.")
        st.stop()
    return Path(options.folder or options.results)


def _views() -> dict[str, ModuleType]:
    """Name of the file -> module, in the order of the navigation."""
    from app import address, views
    from workbench import extensions
    from workbench.errors import UserError

    theirs = extensions.paths("views")
    views.__path__.extend(path for path in theirs if path not in views.__path__)
    names = [found.name for found in pkgutil.iter_modules([p for p in views.__path__ if p not in theirs])]
    modules = {name: importlib.import_module(f"app.views.{name}") for name in names}
    try:
        more = list(extensions.files("views"))
    except UserError as error:  # ours are shown nevertheless
        address.complain(f"{error}.")
        more = []
    for name in more:
        try:
            modules[name] = extensions.module(f"app.views.{name}")
        except UserError as error:
            address.complain(f"{error}.")
    return dict(sorted(modules.items(), key=lambda item: (getattr(item[1], "ORDER", 100), item[0])))


def _latest(results: Path, studies: tuple[str, ...]) -> str:
    """The study whose `study.json` is newest; a folder gets a new time whenever its runs are read."""

    def asked_at(name: str) -> float:
        try:
            return (results / "runs" / name / "study.json").stat().st_mtime
        except OSError:  # it has none, or has gone since the list was made
            return 0.0

    return max(studies, key=asked_at)


def _empty(results: Path) -> None:
    """Instructions if there is no study: how to unpack an archive, else how to make the first runs."""
    if results.is_file():
        _packed(results)
        return
    st.header("No runs yet")
    st.text(f"There are no runs in {results}.")
    from app.widgets import among

    st.markdown("This makes the first ones, in under two minutes:")
    st.code(f"python -m workbench.study mask_ratio --smoke{among(results)}", language="shell")
    st.markdown("and this lists the questions that can be asked:")
    st.code("python -m workbench.study", language="shell")


def _packed(file: Path) -> None:
    """A file in the place of a folder: an archive of runs is unpacked first, any other is refused."""
    st.header("A file, not a folder")
    if not zipfile.is_zipfile(file):
        st.text(f"{file} is a file, but not an archive of runs; the dashboard shows a folder of results.")
        return
    st.text(f"{file} is an archive; the dashboard shows the runs in it once they are unpacked into a folder.")
    st.markdown("This unpacks them, within a minute for some hundreds of runs:")
    folder = shlex.quote(str(Path("results", file.stem)))
    st.code(f"python -m workbench.tracking gather {shlex.quote(str(file))} --into {folder}", language="shell")
    st.markdown("and this shows them:")
    st.code(f"streamlit run app/dashboard.py -- {folder}", language="shell")


if __name__ == "__main__":
    main()
