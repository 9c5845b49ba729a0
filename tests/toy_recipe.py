"""A recipe that uses every hook of the contract, to try it (arXiv:0000.00000, there is none).

Clips and captions are embedded and contrasted; a fusion encoder judges pairs, half of them wrong; a teacher
that is an average of the student gives a target; a codebook, fitted before the first step, gives words for
patches.
Run as a program it is `python -m workbench.train` that knows this recipe.

Differs from the paper: there is none.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from timm.models.vision_transformer import Block
from torch import nn

from workbench import losses
from workbench.masking.text import TokenMasking
from workbench.masking.video import PerFrameMasking
from workbench.models.text import TextEncoder
from workbench.models.video import VideoEncoder
from workbench.recipe.base import Phase
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.heads import match_score

CODES, MOMENTUM = 5, 0.9


@dataclass(frozen=True, kw_only=True)
class Weights:
    vtc: float = 1.0
    vtm: float = 1.0
    codes: float = 0.5
    teacher: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    video_masking: PerFrameMasking | None = PerFrameMasking(ratio=0.5)
    text_masking: TokenMasking | None = TokenMasking(ratio=0.3)
    weights: Weights = field(default_factory=Weights)


class Fusion(nn.Module):
    """One block over the tokens of both sides."""

    extra_tokens, start = 0, ""

    def __init__(self, width, heads):
        super().__init__()
        self.block = Block(width, heads)
        self.layers = self.counted = [self.block]

    def forward(self, video, text):
        return self.block(torch.cat([video, text], 1)).mean(1)


class Recipe(DualEncoder):
    PHASES: ClassVar = {"predict_codes": Phase(trains=("fusion", "code_head"))}

    def __init__(self, config, *, frames, size, vocabulary):
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.words = vocabulary
        self.video = VideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        self.fusion = Fusion(self.video.width, config.video.heads)
        self.match_head = nn.Linear(self.video.width, 2)
        self.code_head = nn.Linear(self.video.width, CODES)
        self.build_heads(config)
        self.teacher = copy.deepcopy(self.video).requires_grad_(False)
        self.register_buffer("codebook", torch.zeros(CODES, self.video.pixels))
        self.register_buffer("after_steps", torch.zeros(2, dtype=torch.float64))

    def encoders(self):
        return {"video": self.video, "text": self.text, "fusion": self.fusion, "teacher": self.teacher}

    def rates(self):
        return {"video.": 0.5}

    def prepare(self, store, rng):
        clips = torch.randperm(len(store.frames), generator=rng)[:CODES]
        patches = self.video.patches(torch.from_numpy(store.frames[clips.numpy()])).float()
        self.codebook.copy_(patches.mean(1))
        return 1000.0

    def masks(self, batch, rng):
        """Attended masking in small: the words that look most like the clip are hidden, a third at random."""
        found = super().masks(batch, rng)
        with torch.no_grad():
            look = self.text(batch.text).tokens @ self.video(batch.video).pooled[..., None]
        score = look[..., 0].float().masked_fill(~batch.text.layout.valid, float("-inf"))
        best = torch.zeros_like(found.text).scatter_(1, score.argmax(1, keepdim=True), True)
        return found._replace(text=(found.text | best) & batch.text.layout.valid)

    def draw(self, batch, rng, *, objective="recipe", masked=True):
        rows = len(batch.text.tokens)
        draw = super().draw(batch, rng, objective=objective, masked=masked)
        return draw._replace(chosen={"shift": rng.integers(1, rows, rows)})

    def losses(self, batch, draw):
        rows = torch.arange(len(batch.video))
        other = (rows + draw.chosen["shift"]) % len(rows)
        video, text = self.video(batch.video, draw.video_mask), self.text(batch.text, draw.text_mask)
        fused = self.fusion(torch.cat([video.tokens, video.tokens[other]]), text.tokens.repeat(2, 1, 1))
        with torch.no_grad():
            target = self.teacher(batch.video).pooled
        return {
            "vtm": losses.vtm(self.match_head(fused), torch.arange(len(fused)) < len(rows)),
            "teacher": nn.functional.mse_loss(video.pooled.float(), target.float()),
            **self.align(batch, draw),
            **self.predict_codes(batch, draw),
        }

    def predict_codes(self, batch, draw):
        """Which code the mean patch of a clip is, from clip and caption."""
        patches = self.video.patches(batch.video).float().mean(1)
        codes = torch.cdist(patches, self.codebook).argmin(1)
        fused = self.fusion(self.video(batch.video, draw.video_mask).tokens, self.text(batch.text).tokens)
        return {"codes": nn.functional.cross_entropy(self.code_head(fused).float(), codes)}

    def after_step(self, done):
        for old, new in zip(self.teacher.parameters(), self.video.parameters(), strict=True):
            old.mul_(MOMENTUM).add_(new, alpha=1 - MOMENTUM)
        self.after_steps += torch.tensor([1.0, done], dtype=torch.float64)

    def match(self, video, text):
        fused = self.fusion(self.video(video).tokens, self.text(text).tokens)
        return match_score(self.match_head(fused).float())

    def generate(self, video, prompts=None):
        """The word that fits each clip best, behind its prompt."""
        words = sorted(word for word in self.words.tokenizer.get_vocab() if word.isalpha())
        best = (self.embed_video(video) @ self.embed_text(self.words.encode(words)).T).argmax(1)
        prompts = prompts or [""] * len(video)
        return [f"{prompt} {words[i]}" for prompt, i in zip(prompts, best.tolist(), strict=True)]


if __name__ == "__main__":
    import toy_recipe

    from workbench.train.run import main

    sys.modules["workbench.recipes.toy"] = toy_recipe  # as if it were shipped
    for thing in (toy_recipe.Weights, toy_recipe.Config, toy_recipe.Recipe):
        thing.__module__ = "workbench.recipes.toy"
    sys.exit(main())
