"""Text models of transformers: BERT, DistilBERT, RoBERTa, and the text tower of CLIP.

A model is given by its hub name, a local folder, or `package:NAME/FOLDER`. The pooling of a sentence depends
on the weights: CLIP uses the state of its end token, a sentence-transformers folder defines the first token
or the mean, and all others use the first token.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import AutoConfig, BertModel, CLIPTextModel, DistilBertModel, PreTrainedModel, RobertaModel

from workbench.errors import UserError
from workbench.models.pretrained import source

Pool = Literal["first", "last", "mean"]


@dataclass(frozen=True)
class Family:
    """How models of a family are built and called."""

    model: type[PreTrainedModel]
    layers: str
    """Attribute path of its blocks."""
    dropout: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    pool: Pool = "first"
    causal: bool = False
    """Whether tokens attend only to preceding ones."""


_DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")
_CLIP = Family(CLIPTextModel, "encoder.layers", ("attention_dropout",), pool="last", causal=True)
FAMILIES = {
    "bert": Family(BertModel, "encoder.layer", _DROPOUT, {"add_pooling_layer": False}),
    "distilbert": Family(DistilBertModel, "transformer.layer", ("dropout", "attention_dropout")),
    "roberta": Family(RobertaModel, "encoder.layer", _DROPOUT, {"add_pooling_layer": False}),
    "clip": _CLIP,
    "clip_text_model": _CLIP,
}
"""Families by `model_type` of config.json. A whole CLIP contains the text tower's configuration."""


class TextSource(NamedTuple):
    """A text model. The defaults are those of a model that is built from `TextConfig`."""

    model: PreTrainedModel
    family: Family
    pool: Pool = "first"
    first_position: int = 0
    """Number of the first position; RoBERTa counts from after its padding token."""
    start: str = ""
    """Name of the weights, empty for random ones."""

    @property
    def most(self) -> int:
        """Maximum number of tokens, including those put around a sentence."""
        return int(self.model.config.max_position_embeddings) - self.first_position


def load(name: str, *, random: bool) -> TextSource:
    """A published model without dropout.

    Dropout would use the global random generator, so a resumed run would differ from an uninterrupted one.

    random: use random weights in its shape, scaled to its width.
    """
    place = source.locate(name)
    try:
        config: Any = AutoConfig.from_pretrained(place, trust_remote_code=False)
        pool = _pool(place, name)
    except (OSError, ValueError, KeyError) as error:
        raise unavailable(name, error) from error
    if config.model_type not in FAMILIES:
        known = "BERT, DistilBERT, RoBERTa or CLIP"
        raise UserError(f"{name} must be a {known}, not a model of the kind {config.model_type!r}")
    family = FAMILIES[config.model_type]
    config = getattr(config, "text_config", config)
    for dropout in family.dropout:
        setattr(config, dropout, 0.0)
    first = config.pad_token_id + 1 if family.model is RobertaModel else 0
    if random or source.unread():
        if hasattr(config, "initializer_range"):
            config.initializer_range = config.hidden_size**-0.5
        model = family.model(config, **family.options)
        return TextSource(model, family, pool or family.pool, first, f"random init of {name}")
    try:
        # Without use_safetensors, a folder that has only pytorch_model.bin would be unpickled.
        loaded: Any = family.model.from_pretrained(
            place, config=config, use_safetensors=True, output_loading_info=True, **family.options
        )
        file = source.file_of(place, source.SAFETENSORS[0])  # large models are split into several files
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise unavailable(name, error) from error
    if missing := sorted(loaded[1]["missing_keys"]):
        kind = family.model.__name__
        raise UserError(f"{name} lacks {len(missing)} tensors of a {kind}: {missing[0]}, …")
    return TextSource(loaded[0], family, pool or family.pool, first, source.named(name, file))


def tokenizer(name: str) -> Tokenizer:
    """The tokenizer of a published model, without its own padding and truncation.

    Its padding would be taken for words."""
    place = source.locate(name)
    try:
        file = source.file_of(place, "tokenizer.json")
        if file is None:
            raise FileNotFoundError("no tokenizer.json of it lies here or can be reached")
        found = Tokenizer.from_file(str(file))
    except Exception as error:  # tokenizers raises bare Exception for every cause
        raise unavailable(name, error) from error
    found.no_padding()
    found.no_truncation()
    return found


def unavailable(name: str, error: Exception) -> UserError:
    """The error, of one sentence, for a text model that could not be loaded."""
    local = f"the path of a local folder, or fetch it where there is a network (`hf download {name}`)"
    return source.unavailable(f"the text model {name!r}", error, local, "text.pretrained")


def _pool(place: str, name: str) -> Pool | None:
    """The pooling that a sentence-transformers folder defines; None for any other folder."""
    file = source.file_of(place, "1_Pooling/config.json")
    if file is None:
        return None
    pooling = json.loads(file.read_text(encoding="utf-8"))
    modes = [
        key.removeprefix("pooling_mode_")
        for key, value in pooling.items()
        if key[:13] == "pooling_mode_" and value is True
    ]
    modes = modes or [pooling.get("pooling_mode", "")]
    if modes in (["mean_tokens"], ["mean"]):
        return "mean"
    if modes in (["cls_token"], ["cls"]):
        return "first"
    raise UserError(f"{name} must reduce a sentence by mean or first token, not by {' and '.join(modes)}")
