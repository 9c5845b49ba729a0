"""The text side: a WordPiece tokenizer trained on the captions, and a BERT encoder from transformers.

Letters: B batch, L content positions (without the class token), n positions encoded, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from workbench.errors import UserError
from workbench.fields import added, at_least, divides, one_of
from workbench.masking.places import columns, opposite
from workbench.models.video import Encoded
from workbench.recipe.batch import Layout, Text

PAD, UNK, CLS, MASK = 0, 1, 2, 3
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
STOP_WORDS = frozenset(
    "a an the and or but of on in at to from by with for into over under before after while as is are "
    "was were be been it its this that these those then there he she they his her their some".split()
)
"""Function words; everything else counts as a content word."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A BERT encoder, built from these numbers or loaded from `pretrained`."""

    width: int = 128
    depth: int = 2
    heads: int = 2
    vocabulary: int = 8192
    """Largest WordPiece vocabulary trained on the captions of the training split."""
    max_tokens: int = 32
    """Longer captions are cut; a run records how many (`captions_cut`)."""
    hidden: Literal["drop", "replace"] = "replace"
    """Hidden tokens become `[MASK]`, or are dropped, padding first."""
    pretrained: str = ""
    """A BERT model of the Hugging Face hub, or a local folder of one. The name identifies the weights: other
    weights under the same name would pass for the same cell."""
    words: tuple[str, ...] = added(before=())
    """Further special words of a tokenizer that is trained here, such as the answers `true` and `false`; a
    pretrained one has to know them."""

    def __post_init__(self) -> None:
        at_least("text.width", self.width, 1)
        at_least("text.depth", self.depth, 0)
        at_least("text.heads", self.heads, 1)
        at_least("text.vocabulary", self.vocabulary, len(SPECIAL) + len(self.words) + 1)
        at_least("text.max_tokens", self.max_tokens, 1)
        divides("text.heads", self.heads, "text.width", self.width)
        one_of("text.hidden", self.hidden, ("drop", "replace"))
        if "" in self.words or len({*SPECIAL, *self.words}) < len(SPECIAL) + len(self.words):
            raise UserError(f"text.words are words of their own, each named once, not {self.words!r}")


class Vocabulary:
    """Captions to token arrays, all of one length so that every batch has the same cost."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self.tokenizer = tokenizer
        self.length = length
        ids = [tokenizer.token_to_id(token) for token in SPECIAL]
        self.pad, self.unk, self.cls, self.mask = (-1 if i is None else i for i in ids)
        if min(self.pad, self.cls, self.mask) < 0:
            raise UserError(f"a tokenizer needs the special tokens {', '.join(SPECIAL)}")

    @classmethod
    def train(cls, captions: list[str], config: TextConfig, held_out: Sequence[str] = ()) -> Vocabulary:
        """Deterministic: the same captions give the same vocabulary. `held_out` is for the length alone."""
        tokenizer = _word_pieces({})
        # The trainer meets letters in the order of a hash table, from which numbers and the breaking of
        # ties follow; told every letter beforehand, it has no choice left.
        letters = sorted({letter for caption in captions for letter in _letters(tokenizer, caption)})
        start = list(
            dict.fromkeys([*SPECIAL, *config.words, *letters, *(f"##{letter}" for letter in letters)])
        )
        trainer = trainers.WordPieceTrainer(
            vocab_size=config.vocabulary, special_tokens=start, show_progress=False
        )
        tokenizer.train_from_iterator(captions, trainer)
        tokenizer = _word_pieces(tokenizer.get_vocab())
        return cls(tokenizer, _longest(tokenizer, [*captions, *held_out], config.max_tokens))

    @classmethod
    def load(cls, path: Path, length: int) -> Vocabulary:
        return cls(Tokenizer.from_file(str(path)), length)

    @classmethod
    def pretrained(cls, captions: list[str], config: TextConfig, held_out: Sequence[str] = ()) -> Vocabulary:
        path = Path(config.pretrained) / "tokenizer.json"
        try:
            tokenizer = (
                Tokenizer.from_file(str(path))
                if path.is_file()
                else Tokenizer.from_pretrained(config.pretrained)
            )
        except Exception as error:  # tokenizers raises bare Exception for every cause
            raise UserError(_unavailable(config.pretrained, error)) from error
        tokenizer.no_padding()  # some are published with it, and its tokens would pass for words
        tokenizer.no_truncation()
        return cls(tokenizer, _longest(tokenizer, [*captions, *held_out], config.max_tokens))

    @property
    def size(self) -> int:
        return self.tokenizer.get_vocab_size()

    def id(self, word: str) -> int:
        """Number of a word that the tokenizer knows as a whole."""
        found = self.tokenizer.token_to_id(word)
        if found is None:
            raise UserError(f"the tokenizer does not know the word {word!r}; text.words may name it")
        return found

    def longer(self, more: int) -> Vocabulary:
        """The same words with room for more tokens, as an encoder needs where a recipe appends some."""
        return Vocabulary(self.tokenizer, self.length + more)

    def encode(self, captions: list[str]) -> Text:
        """Tokens, cut and padded to `length`, as tensors on the CPU."""
        shape = (len(captions), self.length)
        tokens, word = np.full(shape, self.pad), np.zeros(shape, np.int64)
        valid, content = np.zeros(shape, bool), np.zeros(shape, bool)
        for i, encoding in enumerate(self.tokenizer.encode_batch(captions, add_special_tokens=False)):
            n = min(len(encoding.ids), self.length)
            tokens[i, :n] = encoding.ids[:n]
            valid[i, :n] = True
            words = [number or 0 for number in encoding.word_ids[:n]]
            word[i, :n] = words
            content[i, :n] = [_is_content(captions[i], encoding, w) for w in words]
        word = np.minimum(word, self.length - 1)
        layout = Layout(*(torch.from_numpy(x) for x in (valid, word, content)))
        return Text(torch.from_numpy(tokens), layout)

    def cut(self, captions: list[str]) -> int:
        """How many captions `encode` cuts."""
        return sum(len(ids) > self.length for ids in _ids(self.tokenizer, captions))

    def decode(self, tokens: Sequence[int]) -> str:
        """What tokens say: pieces of a word together, words with a space between."""
        return " ".join(str(self.tokenizer.id_to_token(token)) for token in tokens).replace(" ##", "")


class TextEncoder(nn.Module):
    """Captions to vectors; the class token is put in front here and is never hidden."""

    no_decay = ("bert.embeddings",)
    """Beginnings of its parameters' names that weight decay leaves alone: rare words would fade."""

    def __init__(self, config: TextConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.bert = _bert(config, vocabulary)
        self.width: int = self.bert.config.hidden_size
        self.cls, self.mask = vocabulary.cls, vocabulary.mask

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.bert.encoder.layer)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return self.layers

    @property
    def extra_tokens(self) -> int:
        return 1

    @property
    def start(self) -> str:
        return self.config.pretrained

    def forward(self, text: Text, mask: Tensor | None = None) -> Encoded:
        """Encodes captions [B, L]; `mask` [B, L] hides where True, None shows everything."""
        tokens, position, keep = self._visible(text, mask)
        cls = torch.full_like(tokens[:, :1], self.cls)
        states = self.bert(
            input_ids=torch.cat([cls, tokens], 1),
            attention_mask=self._bias(keep),
            position_ids=torch.cat([torch.zeros_like(position[:, :1]), position + 1], 1),
        ).last_hidden_state
        return Encoded(states[:, 0], states[:, 1:])

    def _bias(self, keep: Tensor) -> Tensor:
        """What is added to scores, [B, 1, 1, 1 + n], so that padding is not read, from Boolean [B, n].

        Of plain validity, transformers would ask the device whether there is any padding at all.
        """
        kind = self.bert.embeddings.word_embeddings.weight.dtype
        hidden = ~F.pad(keep, (1, 0), value=True)  # the class token is read
        bias = torch.zeros_like(hidden, dtype=kind).masked_fill(hidden, torch.finfo(kind).min)
        return bias[:, None, None]

    def embed(self, text: Text, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Only the embedding layer: tokens [B, n, D] with positions, and which are not padding [B, n]."""
        tokens, position, keep = self._visible(text, mask)
        return self.bert.embeddings(input_ids=tokens, position_ids=position + 1), keep

    def _visible(self, text: Text, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their positions and validity after hiding, all [B, n]."""
        keep = text.layout.valid
        position = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
        if mask is None:
            return text.tokens, position, keep
        if self.config.hidden == "replace":
            return text.tokens.masked_fill(mask, self.mask), position, keep
        index = columns(opposite(mask))  # [B, n]
        return text.tokens.gather(1, index), index, keep.gather(1, index)


def vocabulary(captions: list[str], config: TextConfig, held_out: Sequence[str] = ()) -> Vocabulary:
    """The tokenizer that belongs to `config`: trained on `captions`, or the pretrained model's own.

    held_out: captions that are evaluated and must not be cut for being longer than those of the training.
    """
    if not captions:
        raise UserError("there are no training captions to train a tokenizer on")
    make = Vocabulary.pretrained if config.pretrained else Vocabulary.train
    return make(captions, config, held_out)


def _word_pieces(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=SPECIAL[UNK]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def _letters(tokenizer: Tokenizer, caption: str) -> set[str]:
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(caption))
    return {letter for word, _ in words for letter in word}


def _is_content(caption: str, encoding: Encoding, word: int) -> bool:
    """Judged by the whole word: `at` is a stop word, but not as the head of `atlas`."""
    span = encoding.word_to_chars(word)
    text = caption[slice(*span)].lower() if span else ""
    return text not in STOP_WORDS and any(letter.isalnum() for letter in text)


def _longest(tokenizer: Tokenizer, captions: list[str], limit: int) -> int:
    return max(1, min(limit, max(map(len, _ids(tokenizer, captions)))))


def _ids(tokenizer: Tokenizer, captions: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(captions, add_special_tokens=False)]


def _bert(config: TextConfig, vocabulary: Vocabulary) -> BertModel:
    if config.pretrained:
        try:
            # Without it, a folder that has only pytorch_model.bin would be unpickled.
            # Dropout draws from the global generator: a resumed run would not repeat the uninterrupted one.
            loaded: Any = BertModel.from_pretrained(
                config.pretrained, add_pooling_layer=False, use_safetensors=True, output_loading_info=True,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
            )  # fmt: skip
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise UserError(_unavailable(config.pretrained, error)) from error
        model: BertModel = loaded[0]
        if missing := sorted(loaded[1]["missing_keys"]):
            raise UserError(
                f"{config.pretrained} lacks {len(missing)} tensors of a BERT model: {missing[0]}, …"
            )
        if model.config.model_type != "bert":
            raise UserError(f"{config.pretrained} is not a BERT model")
        most = model.config.max_position_embeddings - 1  # the class token takes one
        if vocabulary.length > most:
            raise UserError(f"{config.pretrained} reads captions of up to {most} tokens: set text.max_tokens")
        return model
    return BertModel(
        BertConfig(
            vocab_size=vocabulary.size,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.width,
            max_position_embeddings=vocabulary.length + 1,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            pad_token_id=vocabulary.pad,
            initializer_range=config.width**-0.5,  # BERT's 0.02 belongs to 768 channels, see VideoEncoder
        ),
        add_pooling_layer=False,
    )


def _unavailable(name: str, error: Exception) -> str:
    return (
        f"the text model {name!r} could not be loaded ({str(error).splitlines()[0][:200]}); "
        "give the path of a local folder, or set text.pretrained to '' for a random start"
    )
