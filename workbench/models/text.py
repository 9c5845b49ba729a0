"""The text side: a WordPiece tokenizer trained on the captions and a BERT, or a published model with its own.

Letters: B batch, L content positions (without the class token), n positions encoded, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Encoding, Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import BertConfig, BertModel, PreTrainedModel

from workbench.errors import UserError
from workbench.fields import added, at_least, divides, one_of
from workbench.masking.positions import columns, opposite
from workbench.models.pretrained import text as published
from workbench.models.video import Encoded
from workbench.recipe.batch import Layout, Text

PAD, UNK, CLS, MASK = 0, 1, 2, 3
MASKS = ("[MASK]", "<mask>")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
STOP_WORDS = frozenset(
    "a an the and or but of on in at to from by with for into over under before after while as is are "
    "was were be been it its this that these those then there he she they his her their some".split()
)
"""Function words; everything else counts as a content word."""


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A BERT encoder built from these numbers, or the model that `pretrained` names."""

    width: int = 128
    depth: int = 2
    heads: int = 2
    vocabulary: int = 8192
    """Largest WordPiece vocabulary trained on the captions of the training split."""
    max_tokens: int = 32
    """Longer captions are truncated; a run records how many (`captions_cut`)."""
    hidden: Literal["drop", "replace"] = "replace"
    """Hidden tokens become `[MASK]`, or are dropped, padding first."""
    pretrained: str = ""
    """A BERT, DistilBERT, RoBERTa or CLIP of the Hugging Face hub, a local folder of one, or
    `package:NAME/FOLDER`, see docs/weights.md. The name identifies the weights: other weights under the same
    name would count as the same cell."""
    words: tuple[str, ...] = added(before=())
    """Further special words of a tokenizer that is trained here, such as the answers `true` and `false`; a
    pretrained one must contain them."""
    random: bool = added(before=False)
    """Random weights for the architecture of `pretrained`, to measure what its own weights are worth."""

    def __post_init__(self) -> None:
        at_least("text.width", self.width, 1)
        at_least("text.depth", self.depth, 0)
        at_least("text.heads", self.heads, 1)
        at_least("text.vocabulary", self.vocabulary, len(SPECIAL) + len(self.words) + 1)
        at_least("text.max_tokens", self.max_tokens, 1)
        divides("text.heads", self.heads, "text.width", self.width)
        one_of("text.hidden", self.hidden, ("drop", "replace"))
        if "" in self.words or len({*SPECIAL, *self.words}) < len(SPECIAL) + len(self.words):
            raise UserError(f"text.words must be new words, each named once, not {self.words!r}")
        if self.random and not self.pretrained:
            raise UserError("text.random=True needs an architecture, which text.pretrained must name")


class Vocabulary:
    """Converts captions to token arrays, all of one length so that every batch has the same cost."""

    def __init__(self, tokenizer: Tokenizer, length: int) -> None:
        self.tokenizer = tokenizer
        self.length = length
        around = tokenizer.encode("").ids  # the tokens that a published tokenizer puts around a sentence
        if len(around) not in (0, 2):
            raise UserError(f"a tokenizer must put no token or two around a sentence, not {len(around)}")
        self.cls = around[0] if around else self._special("[CLS]")
        self.last: int | None = around[1] if around else None
        """The token after a sentence, None if there is none."""
        names = "[PAD]", "<pad>"
        pads = any(tokenizer.token_to_id(name) is not None for name in names)
        # CLIP pads with its end token.
        self.pad = self.last if self.last is not None and not pads else self._special(*names)

    def _found(self, *names: str) -> int | None:
        numbers = (self.tokenizer.token_to_id(name) for name in names)
        return next((number for number in numbers if number is not None), None)

    def _special(self, *names: str) -> int:
        if (number := self._found(*names)) is None:
            raise UserError(f"this tokenizer lacks the special token {' or '.join(names)}")
        return number

    @property
    def masks(self) -> bool:
        """Whether there is a mask token; CLIP has none."""
        return self._found(*MASKS) is not None

    @property
    def mask(self) -> int:
        """Number of the mask token. Raises `UserError` if there is none."""
        return self._special(*MASKS)

    @property
    def unk(self) -> int:
        """Number of the token for unknown words; RoBERTa and CLIP know every letter."""
        return self._special("[UNK]", "<unk>", "<|endoftext|>")

    @classmethod
    def train(cls, captions: list[str], config: TextConfig, held_out: Sequence[str] = ()) -> Vocabulary:
        """Trains a vocabulary; the same captions give the same one. `held_out` only affects the length."""
        tokenizer = _word_pieces({})
        # The trainer reads letters in the order of a hash table, on which numbers and tie-breaking depend;
        # with all letters given beforehand, the result is fixed.
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
        tokenizer = published.tokenizer(config.pretrained)
        return cls(tokenizer, _longest(tokenizer, [*captions, *held_out], config.max_tokens))

    @property
    def size(self) -> int:
        return self.tokenizer.get_vocab_size()

    def id(self, word: str) -> int:
        """Number of a word that is a single token."""
        found = self.tokenizer.token_to_id(word)
        if found is None:
            raise UserError(f"the tokenizer does not know the word {word!r}; text.words may name it")
        return found

    def longer(self, more: int) -> Vocabulary:
        """The same vocabulary for longer sequences, for recipes that append tokens."""
        return Vocabulary(self.tokenizer, self.length + more)

    def encode(self, captions: list[str]) -> Text:
        """Tokens, truncated and padded to `length`, as tensors on the CPU."""
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

    def by_length(self, captions: Sequence[str]) -> Iterator[tuple[list[int], Tensor]]:
        """For every number n of tokens: which captions have n tokens, and their tokens [b, n]."""
        rows_of: dict[int, list[int]] = {}
        tokens = [ids[: self.length] for ids in _ids(self.tokenizer, captions)]
        for row, caption in enumerate(tokens):
            rows_of.setdefault(len(caption), []).append(row)
        for count, rows in rows_of.items():
            chosen = [tokens[row] for row in rows]
            yield rows, torch.tensor(chosen, dtype=torch.int64).view(len(rows), count)

    def cut(self, captions: list[str]) -> int:
        """Number of captions that `encode` truncates."""
        return sum(len(ids) > self.length for ids in _ids(self.tokenizer, captions))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens: pieces of a word are joined, words are separated by a space."""
        if isinstance(self.tokenizer.model, models.BPE):
            text: str = self.tokenizer.decode(tokens, skip_special_tokens=False)
            return text.replace("</w>", " ").strip()  # CLIP's mark of a word's end
        return " ".join(str(self.tokenizer.id_to_token(token)) for token in tokens).replace(" ##", "")


class TextEncoder(nn.Module):
    """Encodes captions as vectors. It adds the class token before, and a published tokenizer's end token
    after the words; these are never hidden."""

    bert: PreTrainedModel
    """A model of any family; checkpoints use this name."""
    no_decay = ("bert.embeddings",)
    """Prefixes of parameters without weight decay, which would shrink the vectors of rare words."""

    def __init__(self, config: TextConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        # As numbers, since a traced step cannot ask the tokenizer.
        self._cls, self._last = vocabulary.cls, vocabulary.last
        self._mask = vocabulary.mask if vocabulary.masks else None
        if config.pretrained:
            found = published.load(config.pretrained, random=config.random)
            most = found.most - self.extra_tokens
            if vocabulary.length > most:
                raise UserError(
                    f"{config.pretrained} reads captions of up to {most} tokens: set text.max_tokens"
                )
        else:
            found = published.TextSource(_own(config, vocabulary), published.FAMILIES["bert"])
        self.bert, self._family, self._pool, self._first, self._start = found
        self.width: int = self.bert.config.hidden_size

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.bert.get_submodule(self._family.layers).children())

    @property
    def counted(self) -> Sequence[nn.Module]:
        return self.layers

    @property
    def extra_tokens(self) -> int:
        return 1 if self._last is None else 2

    @property
    def start(self) -> str:
        return self._start

    def forward(self, text: Text, mask: Tensor | None = None) -> Encoded:
        """Encodes captions [B, L]; `mask` [B, L], True = hidden; None hides nothing."""
        tokens, position, keep = self._visible(text, mask)
        count, first = tokens.shape[1], torch.zeros_like(position[:, :1])
        parts, places = [torch.full_like(first, self._cls), tokens], [first, position + 1]
        if self._last is not None:
            # After the padding, which nothing attends to, but with the position after the last word.
            parts.append(torch.full_like(first, self._last))
            places.append(text.layout.valid.sum(1, keepdim=True) + 1)
        seen = F.pad(keep, (1, self.extra_tokens - 1), value=True)
        states = self.bert(
            input_ids=torch.cat(parts, 1),
            attention_mask=self._bias(seen),
            position_ids=self._first + torch.cat(places, 1),
        ).last_hidden_state
        return Encoded(self._pooled(states, seen), states[:, 1 : 1 + count])

    def _pooled(self, states: Tensor, seen: Tensor) -> Tensor:
        if self._pool == "mean":
            weight = seen[..., None].to(states.dtype)
            return (states * weight).sum(1) / weight.sum(1)
        return states[:, -1 if self._pool == "last" else 0]

    def _bias(self, seen: Tensor) -> Tensor:
        """Attention bias [B, 1, 1 or n, n] that masks padding, from Boolean [B, n].

        Given only the validity, transformers would read from the device whether there is any padding.
        """
        kind = next(self.bert.parameters()).dtype
        hidden = ~seen[:, None, None]
        if self._family.causal:
            later = torch.ones(seen.shape[1], seen.shape[1], dtype=torch.bool, device=seen.device).triu(1)
            hidden = hidden | later
        return torch.zeros_like(hidden, dtype=kind).masked_fill(hidden, torch.finfo(kind).min)

    def embed(self, text: Text, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The embedding layer alone: tokens [B, n, D] with positions, and which are not padding [B, n]."""
        tokens, position, keep = self._visible(text, mask)
        place = self._first + position + 1
        embeddings: Any = self.bert.embeddings
        return embeddings(input_ids=tokens, position_ids=place), keep

    def _visible(self, text: Text, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, their positions and validity after hiding, all [B, n]."""
        keep = text.layout.valid
        position = torch.arange(keep.shape[1], device=keep.device).expand_as(keep)
        if mask is None:
            return text.tokens, position, keep
        if self.config.hidden == "replace":
            if self._mask is None:
                raise UserError(
                    f"the tokenizer of {self.config.pretrained} has no token for what is hidden: set "
                    "text.hidden='drop'"
                )
            return text.tokens.masked_fill(mask, self._mask), position, keep
        index = columns(opposite(mask))  # [B, n]
        return text.tokens.gather(1, index), index, keep.gather(1, index)


def vocabulary(captions: list[str], config: TextConfig, held_out: Sequence[str] = ()) -> Vocabulary:
    """The tokenizer that belongs to `config`: trained on `captions`, or the pretrained model's own.

    held_out: evaluated captions, which must not be truncated if they are longer than the training captions.
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
    """Judged by the whole word: `at` is a stop word, but not as the beginning of `atlas`."""
    span = encoding.word_to_chars(word)
    text = caption[slice(*span)].strip().lower() if span else ""  # may begin with a space
    return text not in STOP_WORDS and any(letter.isalnum() for letter in text)


def _longest(tokenizer: Tokenizer, captions: list[str], limit: int) -> int:
    return max(1, min(limit, max(map(len, _ids(tokenizer, captions)))))


def _ids(tokenizer: Tokenizer, captions: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(captions, add_special_tokens=False)]


def _own(config: TextConfig, vocabulary: Vocabulary) -> BertModel:
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
            initializer_range=config.width**-0.5,  # BERT's 0.02 is for 768 channels, see VideoEncoder
        ),
        add_pooling_layer=False,
    )
