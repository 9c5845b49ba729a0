"""The text side beyond the defaults: published models, the length of captions, what a mask really hides."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from small import run_config, shrink, write_store

from workbench.errors import UserError
from workbench.masking.text import TokenMasking
from workbench.masking.video import FrameMasking, RandomMasking
from workbench.models.text import TextConfig, TextEncoder, vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import Batch, BatchRng
from workbench.recipes import mac
from workbench.train.session import open_session, try_to_build

CAPTIONS = ["a red square moves left", "a blue moon grows on a plain wall", "green star"]


@pytest.fixture(scope="module")
def words():
    return vocabulary(CAPTIONS, TextConfig())


@pytest.fixture
def published(words, tmp_path):
    """A folder as a text model is published, and the encoder it came from."""
    torch.manual_seed(0)
    model = TextEncoder(TextConfig(width=32, depth=1, heads=2), words).eval()
    model.bert.config.hidden_dropout_prob = model.bert.config.attention_probs_dropout_prob = 0.1
    model.bert.save_pretrained(tmp_path)
    words.tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path, model


class TestPublished:
    def test_missing_weights_are_named_in_one_sentence(self, tmp_path):
        config = TextConfig(pretrained=str(tmp_path / "nowhere"))
        with pytest.raises(UserError, match="random start") as caught:
            vocabulary(CAPTIONS, config)
        assert "\n" not in str(caught.value)

    def test_a_local_folder_is_loaded(self, published, words):
        folder, model = published
        config = TextConfig(pretrained=str(folder))
        own = vocabulary(CAPTIONS, config)
        again = TextEncoder(config, own).eval()
        one, two = again(own.encode(CAPTIONS)).pooled, model(words.encode(CAPTIONS)).pooled
        assert torch.allclose(one, two, atol=1e-5)

    def test_it_trains_without_dropout(self, published, words):
        """Dropout draws from the global generator, which no checkpoint holds."""
        model = TextEncoder(TextConfig(pretrained=str(published[0])), words).train()
        text = words.encode(CAPTIONS)
        assert torch.equal(model(text).pooled, model(text).pooled)

    def test_padding_and_cutting_of_the_published_tokenizer_are_left_out(self, published, words):
        file = published[0] / "tokenizer.json"
        tokenizer = words.tokenizer.from_str(words.tokenizer.to_str())
        tokenizer.enable_padding(length=20)
        tokenizer.enable_truncation(max_length=3)
        tokenizer.save(str(file))
        own = vocabulary(CAPTIONS, TextConfig(pretrained=str(published[0])))
        assert own.length == words.length
        assert torch.equal(own.encode(CAPTIONS).layout.valid, words.encode(CAPTIONS).layout.valid)

    def test_a_file_that_lacks_tensors_is_refused(self, published, words):
        file = published[0] / "model.safetensors"
        tensors = load_file(file)
        save_file({k: v for k, v in tensors.items() if "layer.0.output" not in k}, file, {"format": "pt"})
        with pytest.raises(UserError, match="lacks 4 tensors"):
            TextEncoder(TextConfig(pretrained=str(published[0])), words)

    def test_a_folder_without_weights_is_refused(self, words, tmp_path):
        words.tokenizer.save(str(tmp_path / "tokenizer.json"))
        with pytest.raises(UserError, match="could not be loaded"):
            TextEncoder(TextConfig(pretrained=str(tmp_path)), words)


class TestLength:
    def test_a_caption_that_is_evaluated_is_not_cut_to_the_longest_of_the_training(self):
        long = " ".join(["moon"] * 12)
        words = vocabulary(CAPTIONS, TextConfig(), [long])
        assert words.length == 12
        assert words.cut([*CAPTIONS, long]) == 0
        assert vocabulary(CAPTIONS, TextConfig()).tokenizer.to_str() == words.tokenizer.to_str()

    def test_what_is_longer_than_allowed_is_cut_and_counted(self):
        words = vocabulary(CAPTIONS, TextConfig(max_tokens=6))
        assert words.length == 6
        assert words.cut(CAPTIONS) == 1

    def test_a_session_reads_every_split(self, tmp_path):
        store = write_store(tmp_path / "frames-4x16")
        record = json.loads((store.path / "store.json").read_text())
        next(c for c in record["clips"] if c["split"] == "test")["captions"] = [" ".join(["moon"] * 15)]
        (store.path / "store.json").write_text(json.dumps(record))
        session = open_session(run_config(), type(store).open(store.path), device=torch.device("cpu"))
        assert session.vocabulary.length == 15


class TestHiddenShares:
    def shares(self, words, **changes):
        config = shrink(mac.Config(**changes))
        recipe = mac.Recipe(config, frames=4, size=16, vocabulary=words)
        batch = Batch.of(torch.empty(0), words.encode(CAPTIONS * 50))
        return recipe.hidden_shares(batch, BatchRng.seeded(0))

    def test_replacing_hides_the_ratio_of_each_captions_words(self, words):
        found = self.shares(words, text_masking=TokenMasking(ratio=0.5), video_masking=None)
        assert found["mask/text_hidden"] == pytest.approx((2 + 4 + 1) / (5 + 8 + 2))  # 2.5 rounds to even
        assert found["mask/video_hidden"] == 0

    def test_dropping_takes_the_padding_first(self, words):
        text = TextConfig(hidden="drop")
        found = self.shares(words, text=text, text_masking=TokenMasking(ratio=0.5))
        # Of 8 positions 4 go: 3 of them padding in the first caption, none in the second, 6 in the third.
        assert found["mask/text_hidden"] == pytest.approx((1 + 4 + 0) / (5 + 8 + 2))

    def test_captions_go_through_in_slices_with_the_same_result(self, words, monkeypatch):
        def shares():
            return self.shares(words, text_masking=TokenMasking(ratio=0.5), video_masking=masking)

        masking, rows = RandomMasking(ratio=0.4), []
        whole, draw = shares(), RandomMasking.__call__
        monkeypatch.setattr("workbench.recipe.base.SLICE", 64)
        monkeypatch.setattr(
            RandomMasking,
            "__call__",
            lambda self, grid, batch, rng: rows.append(batch) or draw(self, grid, batch, rng),
        )
        assert shares() == whole
        assert rows == [64, 64, 22]

    def test_frames_are_hidden_whole(self, words):
        assert self.shares(words, video_masking=FrameMasking(ratio=0.9))["mask/video_hidden"] == 0.5
        assert self.shares(words, video_masking=RandomMasking(ratio=0.9))["mask/video_hidden"] == 7 / 8


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"video": VideoConfig(tubelet=3)}, "tubelets of 3"),
        ({"video": VideoConfig(patch=12)}, "patches of 12"),
        ({"video": VideoConfig(pretrained="nowhere.safetensors")}, "nowhere.safetensors"),
        ({"text": TextConfig(pretrained="nowhere")}, "nowhere"),
    ],
)
def test_a_model_that_cannot_be_built_is_known_before_there_are_data(changes, word):
    with pytest.raises(UserError, match=word):
        try_to_build(run_config(mac.Config(**changes), data=run_config().data))
