"""The view Retrieval over a trained study: stored queries without torch, own sentences through the helper."""

import json
import shutil
import subprocess
import sys

import numpy as np
from reading import said
from synthetic import BASE as WRITTEN
from synthetic import key_of
from trained import STUDY, keys

from app.helper import ask
from workbench.tracking.run_dir import RunDir

SENTENCE = "a red star moves left then spins on a plain background"


def run_of(results, number=0, seed=0):
    return RunDir.of(results, STUDY, keys(results)[number], seed)


def stored(run):
    with np.load(run.file("ranks.npz")) as ranks, np.load(run.file("embeddings.npz")) as found:
        return ranks["t2v_rank"], found["caption"].tolist(), ranks["t2v_id"].tolist(), dict(found)


def test_a_query_shows_its_ranking_with_the_right_clip_marked(trained, opened):
    run = run_of(trained, 1, 1)
    ranks, captions, ids, _ = stored(run)
    row = int(np.argmax(ranks))
    page = opened(view="retrieval", cell=keys(trained)[1], seed="1", query=ids[row])
    assert not page.exception
    words = said(page)
    assert captions[row] in [element.value for element in page.subheader]
    assert f"at rank {ranks[row]}**" in words
    assert words.count(":green-badge") == 1
    assert len(page.get("video")) == min(len(captions), 10)
    marked = next(m.value for m in page.markdown if ":green-badge" in m.value)
    assert marked.startswith(f"**{ranks[row]}**")


def test_all_clips_of_a_caption_that_clips_share_are_marked(trained, opened):
    run = run_of(trained, 1, 1)
    _, captions, ids, found = stored(run)
    path = next(trained.glob("data/*/frames-*/store.json"))
    store = json.loads(path.read_text())
    other = next(name for name in found["video_id"].tolist() if name != found["text_group"][0])
    for clip in store["clips"]:
        if clip["id"] == other:
            clip["captions"] = [captions[0]]
    path.unlink()  # a link to that of the other tests
    path.write_text(json.dumps(store | {"shared_captions": True}))
    page = opened(view="retrieval", cell=keys(trained)[1], seed="1", query=ids[0])
    assert not page.exception
    score = found["video"].astype(np.float32) @ found["text"][0].astype(np.float32)
    places = dict(zip(found["video_id"][np.argsort(-score)].tolist(), range(len(score)), strict=True))
    seen = [places[other], places[found["text_group"][0]]]
    assert said(page).count(":green-badge") == max(1, sum(place < 10 for place in seen))
    assert "The best placed of 2 right clips comes" in said(page)
    page = opened(view="retrieval", cell=keys(trained)[1], seed="1", query=ids[0], way="v2t")
    assert not page.exception


def test_what_a_wrong_clip_was_confused_in_is_said(trained, opened):
    run = run_of(trained)
    ranks, _, ids, found = stored(run)
    row = int(np.argmax(ranks))
    page = opened(view="retrieval", cell=keys(trained)[0], query=ids[row])
    store = json.loads(next(trained.glob("data/*/frames-*/store.json")).read_text())
    clips = {clip["id"]: clip["attributes"] for clip in store["clips"]}
    first = found["video_id"][
        np.argmax(found["video"].astype(np.float32) @ found["text"][row].astype(np.float32))
    ]
    right = clips[found["text_group"][row]]
    wrong = {name: value for name, value in clips[first].items() if right[name] != value}
    lines = "\n".join(m.value for m in (*page.markdown, *page.caption))
    assert wrong
    assert all(f"{name}: **{value}**, not {right[name]}" in lines for name, value in wrong.items())
    (table,) = [f.value for f in page.dataframe if "attribute" in f.value.columns]
    assert sorted(table["attribute"]) == sorted(right)
    assert np.allclose(table["share (%)"], 100 * table["wrong"] / table["missed"])


def test_queries_can_be_narrowed_to_those_that_were_missed(trained, opened):
    ranks, captions, *_ = stored(run_of(trained))
    page = opened(view="retrieval", cell=keys(trained)[0], show="missed")
    missed = [caption for caption, rank in zip(captions, ranks, strict=True) if rank > 1]
    assert page.selectbox(key="address: query").options == missed
    page.button_group(key="address: show").set_value("found").run()
    assert page.query_params["show"] == "found"
    assert not page.exception


def test_queries_that_one_of_two_cells_found_alone_are_listed(trained, opened):
    ranks, captions, ids, _ = stored(run_of(trained, 0))
    other_ranks, _, other_ids, _ = stored(run_of(trained, 1))
    theirs = dict(zip(other_ids, other_ranks, strict=True))
    first, second = keys(trained)[:2]
    page = opened(view="retrieval", cell=first, beside=second, show="only here")
    assert not page.exception
    alone = [c for query, rank, c in zip(ids, ranks, captions, strict=True) if rank == 1 < theirs[query]]
    if alone:
        assert page.selectbox(key="address: query").options == alone
    else:
        assert "There is no such query." in said(page)
    page = opened(view="retrieval", cell=first)
    assert "only here" not in str(page.button_group(key="address: show").options)


def test_a_sentence_of_ones_own_is_ranked_like_the_same_caption_of_the_test_split(trained, opened):
    run = run_of(trained, 1)
    _, captions, _, found = stored(run)
    _, payload = ask(want="text", run=str(run.path), sentence=captions[0])
    vector = np.frombuffer(payload, np.float32)
    assert vector @ found["text"][0].astype(np.float32) > 0.995
    page = opened(view="retrieval", cell=keys(trained)[1], text=captions[0])
    assert not page.exception
    assert "Read as\\: " in said(page)
    assert captions[0] == page.subheader[0].value
    assert ":green-badge" not in said(page)
    assert len(page.get("video")) == min(len(captions), 10)


def test_without_weights_a_sentence_is_refused_in_words_and_stored_queries_go_on(trained, opened):
    for path in trained.glob(f"runs/{STUDY}/*/checkpoints"):
        shutil.rmtree(path)
    page = opened(view="retrieval", text=SENTENCE)
    assert not page.exception
    assert "kept no weights" in page.error[0].value
    page.text_input(key="address: text").set_value("").run()
    assert not page.error
    assert len(page.get("video"))


def test_damaged_weights_are_refused_in_words(trained, opened):
    for path in trained.glob(f"runs/{STUDY}/*/checkpoints/model.safetensors"):
        content = path.read_bytes()[:200]
        path.unlink()
        path.write_bytes(content)
    page = opened(view="retrieval", text=SENTENCE)
    assert not page.exception
    assert "cannot be read" in page.error[0].value


def test_a_run_of_an_earlier_version_without_embeddings_is_explained(ratios, opened):
    ratios()
    page = opened(view="retrieval")
    assert not page.exception
    assert "left no embeddings" in said(page)
    assert "or comes from an archive, which leaves them out" in said(page).replace("\\", "")


def test_hostile_parameters_are_left_out_with_a_sentence(trained, opened):
    page = opened(view="retrieval", cell=key_of(WRITTEN), seed="../0", query="<b>", show="1", play="$")
    assert not page.exception
    assert "which is not here" in page.warning[0].value
    assert "<b>" not in page.warning[0].value
    assert len(page.get("video"))


def test_a_hostile_sentence_is_words_and_is_cut(trained, opened):
    page = opened(view="retrieval", text="<img src=x> $x$\n\x00 [MASK] " + "ä" * 5000)
    assert not page.exception
    assert not page.error
    assert page.subheader[0].value.startswith("\\<img src\\=x\\> \\$x\\$")
    assert len(page.text_input(key="address: text").value) == 300
    assert len(page.get("video"))


def test_without_the_data_the_ranking_is_still_there(trained, opened):
    shutil.rmtree(trained / "data")
    page = opened(view="retrieval")
    assert not page.exception
    assert "Nothing can be played" in said(page)
    assert ":green-badge" in said(page)
    assert len(page.get("video")) == 0


def test_the_page_loads_no_torch_even_for_a_sentence(trained):
    code = f"""
import os, sys
os.environ["WORKBENCH_RESULTS"] = {str(trained)!r}
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app/dashboard.py", default_timeout=300)
for name, value in dict(view="retrieval", text={SENTENCE!r}).items():
    page.query_params[name] = value
page.run()
assert not page.exception and not page.error, page.error
assert any("Read as" in c.value for c in page.caption)
for view in ("compare", "masks"):
    page.query_params["view"] = view
    page.run()
    assert not page.exception
heavy = "torch timm transformers tokenizers decord av mlflow optuna".split()
print(*sorted(set(heavy) & {{name.split(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_a_sentence_is_read_again_when_the_weights_are_others(trained, opened, monkeypatch):
    asked = []

    def ask(**task):
        asked.append(task)
        return {"tokens": [], "cut": []}, np.zeros(16, np.float32).tobytes()

    monkeypatch.setattr("app.views.retrieval.ask", ask)
    page = opened(view="retrieval", text=SENTENCE)
    weights = trained / "runs" / STUDY / f"{keys(trained)[0]}-s0" / "checkpoints/model.safetensors"
    for other in trained.glob(f"runs/{STUDY}/*/checkpoints/model.safetensors"):
        content = other.read_bytes()
        other.unlink()  # the original is shared
        other.write_bytes(content)
    assert weights.exists()
    page.run()
    assert len({task["weights"] for task in asked}) == 2


def test_as_many_queries_are_confused_as_were_missed(trained, opened):
    ranks, *_ = stored(run_of(trained))
    page = opened(view="retrieval", cell=keys(trained)[0])
    (table,) = [f.value for f in page.dataframe if "attribute" in f.value.columns]
    missed = int((ranks > 1).sum())
    assert set(table["missed"]) == {missed}
    assert f"missed \\({missed}\\)" in page.button_group(key="address: show").options


def test_a_blank_sentence_asks_for_words(trained, opened):
    page = opened(view="retrieval", text="   ")
    assert not page.exception
    assert not page.error
    assert "The sentence is blank: write some words" in said(page)


def test_captions_are_ranked_for_a_clip(trained, opened):
    run = run_of(trained, 1)
    _, captions, ids, found = stored(run)
    page = opened(view="retrieval", cell=keys(trained)[1], way="v2t", query=ids[2])
    assert not page.exception
    assert len(page.get("video")) == 1
    clip = found["video_id"].tolist().index(found["text_group"][2])
    scores = found["text"].astype(np.float32) @ found["video"][clip].astype(np.float32)
    lines = [m.value for m in page.markdown if " · " in m.value]
    assert captions[int(scores.argmax())] in lines[0]
    assert [":green-badge" in line for line in lines].count(True) == 1
    place = 1 + int((scores > scores[2]).sum())
    assert any(f"**{place}** :green-badge" in line for line in lines)


def test_ones_own_sentence_is_ranked_by_two_cells(trained, opened):
    first, other = keys(trained)
    page = opened(view="retrieval", cell=first, beside=other, text=SENTENCE)
    assert not page.exception
    assert said(page).count("Read as") == 2
    assert len(page.get("video")) == 2 * 6
    assert sum("video\\_ratio" in m.value for m in page.markdown) == 2
    page.text_input(key="address: text").set_value("").run()
    assert not page.exception
    assert said(page).count("Each card") == 2
