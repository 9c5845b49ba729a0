"""LAVENDER: unifying video-language understanding as masked language modelling (arXiv:2206.07160).

A clip's tokens and a caption's words are read by one transformer, and one head predicts words, whatever is
asked: hidden words of the caption; whether clip and caption belong together, by `true` or `false` at a
[MASK] behind the caption; the answer to a question, at a [MASK] behind it (the phase `question` trains it, on
texts that end with it); or the next word of a caption. Nothing of the clip is hidden. `match_head = linear`
judges pairs by a layer of their own instead.

Differs from the paper: the shared small core from a random start instead of a Video Swin Transformer and a
trained BERT; patches of a ViT that sees all frames at once; other clips' captions of the batch are drawn
evenly as wrong ones, and are judged with all words shown; the score of a pair is the difference of the
logits of `true` and `false`; a caption is generated word by word, each the likeliest, until `[SEP]`, which
the phase `caption` trains; projections of the clip's mean token and of the class token of a caption read
without a clip, trained by the stage `align` only, so that it can be compared with dual encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import own_rows
from workbench.fields import one_of
from workbench.masking.positions import counted, pick, total_of
from workbench.models.fusion import seq2seq
from workbench.models.text import TextConfig, Vocabulary
from workbench.recipe.base import Phase
from workbench.recipe.batch import Batch, Draw, Layout, Text
from workbench.recipe.heads import judgement
from workbench.recipe.joint import JointConfig, JointEncoder, wrong_rows

TRUE, FALSE, END = "true", "false", "[SEP]"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The paper's unit weights; a term of weight 0 is not computed."""

    mlm: float = 1.0
    vtm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(JointConfig):
    text: TextConfig = field(default_factory=lambda: TextConfig(depth=0, words=(TRUE, FALSE, END)))
    match_head: Literal["words", "linear"] = "words"
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of("recipe.match_head", self.match_head, ("words", "linear"))


class Recipe(JointEncoder):
    """Reads both sides together and predicts words.

    Letters: B batch, C candidates, n tokens of a clip, L positions of a caption, D width, V vocabulary.
    """

    DISTRIBUTED: ClassVar = True

    PHASES: ClassVar = {"caption": Phase(), "question": Phase()}

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.true, self.false, self.end = (vocabulary.id(word) for word in (TRUE, FALSE, END))
        self.marks = vocabulary.pad, vocabulary.cls, vocabulary.mask  # tokens that are not generated
        self.build_joint(config, frames=frames, size=size, vocabulary=vocabulary)
        if config.match_head == "linear":
            self.match_head = nn.Linear(config.fusion.width, 2)
        self.build_heads(config, text_width=config.fusion.width)

    def weights(self, objective: str = "recipe") -> dict[str, float]:
        return {"mlm": 1.0} if objective in self.PHASES else super().weights(objective)

    def trained_by(self, ability: str) -> tuple[str, ...]:
        if ability == "generate":
            return ("caption",)
        by_losses = super().trained_by(ability)
        return (*by_losses, "question") if ability == "answer" else by_losses

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        weights = self.config.weights
        video = self.video(batch.video, draw.video_mask).tokens  # [B, n, D]
        terms = {}
        if weights.mlm and draw.text_mask is not None:
            terms["mlm"] = self._mlm(video, batch.text, draw.text_mask)
        if weights.vtm:
            terms["vtm"] = self._vtm(video, batch.text, draw.chosen["shift"])
        return terms

    def caption(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Predicts hidden words, and always the end, from the clip and the preceding words alone."""
        video = self.video(batch.video, draw.video_mask).tokens
        text, end = batch.text.append(self.end)
        total = 0 if draw.text_mask is None else total_of(draw.text_mask)
        mask = end if draw.text_mask is None else end | F.pad(draw.text_mask, (0, 1))
        mask = mask if total is None else counted(mask, len(end) + total)
        attend = seq2seq(video.shape[1], mask.shape[1], device=mask.device)
        return {"mlm": self._mlm(video, text, mask, attend)}

    def question(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """Predicts the last word of each text, the answer, from the clip and all other words."""
        text, video = batch.text, self.video(batch.video, draw.video_mask).tokens
        answer = _last_word(text.layout)
        if text.host is not None:
            counted(answer, int(_last_word(text.host).sum()))
        return {"mlm": self._mlm(video, text, answer)}

    def match(self, video: Tensor, text: Text) -> Tensor:
        """Matching scores [P] of pairs of uint8 clips and captions, see `heads.match_score`."""
        logits = self._judge(self.video(video).tokens, text)
        no, yes = (self.false, self.true) if self.config.match_head == "words" else (0, 1)
        return logits[:, yes] - logits[:, no]

    def generate(self, video: Tensor, prompts: Sequence[str] | None = None) -> list[str]:
        """Captions of clips, which begin with their prompts, by greedy decoding until `[SEP]`."""
        clip, written = self.video(video).tokens, [""] * len(video)
        for rows, begun in self.vocabulary.by_length(prompts or written):
            tokens = self._write(clip[rows], begun.to(clip.device)).tolist()
            for row, caption in zip(rows, tokens, strict=True):
                end = (caption + [self.end]).index(self.end)
                written[row] = self.vocabulary.decode(caption[:end])
        return written

    def _write(self, clip: Tensor, begun: Tensor) -> Tensor:
        """Tokens [B, L] that begin with those of prompts [B, i]; tokens after the end have no meaning."""
        first, length = begun.shape[1], self.vocabulary.length
        tokens = F.pad(begun, (0, length - first), value=self.vocabulary.pad)
        attend = seq2seq(clip.shape[1], length, device=clip.device)
        marks = torch.tensor(self.marks, device=clip.device)
        place = torch.arange(length, device=clip.device)
        nothing = torch.zeros_like(tokens)
        for i in range(first, length):
            asked = tokens.index_fill(1, place[i : i + 1], self.vocabulary.mask)
            layout = Layout((place <= i).expand_as(tokens), nothing, nothing.bool())
            logits = self.word_head(self._read(clip, Text(asked, layout), attend=attend).text[:, i])
            best = logits.index_fill(1, marks, float("-inf")).argmax(1)
            tokens = tokens.index_copy(1, place[i : i + 1], best[:, None])
        return tokens

    def _mlm(self, video: Tensor, text: Text, mask: Tensor, attend: Tensor | None = None) -> Tensor:
        words = self._read(video, text, mask, attend).text  # [B, L, D]
        return losses.mlm(self.word_head(pick(words, mask)), pick(text.tokens, mask))

    def _vtm(self, video: Tensor, text: Text, shift: Tensor) -> Tensor:
        """Matching loss of each clip with its own caption and with those `shift` [B, C - 1] rows further."""
        row = own_rows(len(video), video.device)[:, None]
        other = torch.cat([row, wrong_rows(shift)], 1)  # [B, C]
        logits = self._judge(
            video.repeat_interleave(other.shape[1], 0), text.gathered().select(other.flatten())
        )
        matched = (other == row).flatten()
        if self.config.match_head == "linear":
            return losses.vtm(logits, matched)
        return losses.mlm(logits, torch.where(matched, self.true, self.false))

    def _judge(self, video: Tensor, text: Text) -> Tensor:
        """Logits [P, V] of words at a [MASK] after each caption, or [P, 2] (no match, match)."""
        if self.config.match_head == "words":
            return self._at_mask(video, text)
        return judgement(self.match_head, self._read(video, text).pooled)


def _last_word(layout: Layout) -> Tensor:
    """Boolean [B, L]: the tokens of each caption's last word."""
    last = (layout.word * layout.valid).amax(1, keepdim=True)
    return layout.valid & (layout.word == last)
