"""Scripts that run in the browser: controls for all clips of a page, a menu that closes on phones."""

from __future__ import annotations

import streamlit as st

_PLAYER_HTML = """<div role="group" aria-label="All clips of this page">
<button data-do="replay">Replay all</button>
<button data-do="pause">Pause all</button>
<button data-do="slow" aria-pressed="false">Half speed</button>
</div>"""
_PLAYER_CSS = """div { display: flex; flex-wrap: wrap; gap: 0.4rem; }
button { font: inherit; font-size: 0.875rem; color: var(--st-text-color);
  background: var(--st-background-color); border: 1px solid var(--st-border-color);
  border-radius: 0.5rem; padding: 0.3rem 0.7rem; cursor: pointer; }
button:hover, button[aria-pressed="true"] { border-color: var(--st-primary-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }"""
# The controls that a browser draws into a clip of an inch hide the clip. Where this does not run, they stay.
_PLAYER_JS = """export default function ({ parentElement }) {
  const clips = () => [...document.querySelectorAll('[data-testid="stMain"] video')];
  let slow = false;
  const turn = (clip) => (clip.paused ? clip.play() : clip.pause());
  const prepare = () => clips().forEach((clip) => {
    clip.controls = false;
    clip.loop = true;
    clip.playbackRate = slow ? 0.5 : 1;
    if (clip.dataset.prepared) return;
    clip.dataset.prepared = "yes";
    clip.title = "Click: stop or go on";
    clip.addEventListener("click", () => turn(clip));
  });
  const act = {
    replay: () => clips().forEach((clip) => { clip.currentTime = 0; clip.play(); }),
    pause: () => clips().forEach((clip) => clip.pause()),
    slow: (button) => { slow = !slow; button.setAttribute("aria-pressed", slow); prepare(); },
  };
  parentElement.querySelectorAll("button").forEach((button) => {
    button.onclick = () => act[button.dataset.do](button);
  });
  prepare();
  const watch = new MutationObserver(prepare);
  watch.observe(document.body, { childList: true, subtree: true });
  return () => watch.disconnect();
}"""
_MENU_JS = """export default function ({ data }) {
  const before = window.workbenchPlace;
  window.workbenchPlace = data.place;
  if (before === undefined || before === data.place || window.innerWidth > 768) return;
  const close = document.querySelector('[data-testid="stSidebarCollapseButton"] button');
  if (close) close.click();
}"""


def player() -> None:
    """Buttons for all clips of the page, beside the clips; a click on a clip stops it or lets it go on."""
    st.components.v2.component("clip_player", html=_PLAYER_HTML, css=_PLAYER_CSS, js=_PLAYER_JS)(key="player")


def close_menu(place: str) -> None:
    """Closes the menu after a choice, because it covers the page on a phone."""
    st.components.v2.component("close_menu", js=_MENU_JS)(
        key="close menu",
        data={"place": place},  # a bare text would have Streamlit import pandas to see what it is
    )
