"""A causal text decoder that generates captions and may also embed captions.

Letters: B batch, L content positions of a caption, D width, V vocabulary, m tokens of the memory (what is
captioned), K beams.

A caption is read as `[BOS] w1 .. wL [EOS]`, followed by padding: S = L + 2 positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import Mlp
from torch import Tensor, nn

from workbench.errors import UserError
from workbench.models.attention import Attention
from workbench.models.cross import initialise
from workbench.models.encoder import Encoder
from workbench.models.text import TextConfig, Vocabulary
from workbench.recipe.batch import Text

BOS, EOS = "[BOS]", "[EOS]"
"""Special words that `TextConfig.words` must contain."""


def check_marks(recipe: str, text: TextConfig) -> None:
    """Raises `UserError` if the text config of a recipe that writes captions lacks `BOS` or `EOS`."""
    if not {BOS, EOS} <= set(text.words):
        raise UserError(f"{recipe} marks where captions begin and end: text.words must have {BOS} and {EOS}")


class Read(NamedTuple):
    """Captions after the decoder's causal blocks, before it attends to a memory."""

    pooled: Tensor
    """[B, D], the class token."""
    states: Tensor
    """[B, S, D]"""
    tokens: Tensor
    """[B, S]"""
    valid: Tensor
    """Boolean [B, S], False at padding."""


class Block(nn.Module):
    """A pre-norm block: self-attention or attention to a memory, then a perceptron."""

    def __init__(self, width: int, heads: int, *, memory: int | None = None) -> None:
        """memory: width of the memory; None for self-attention."""
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm_memory = nn.LayerNorm(memory) if memory else None
        self.attention = Attention(width, heads, keys=memory).apply(initialise)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width).apply(initialise)

    def forward(self, x: Tensor, bias: Tensor | None = None, memory: Tensor | None = None) -> Tensor:
        normed = self.norm1(x)
        keys = normed if memory is None or self.norm_memory is None else self.norm_memory(memory)
        x = x + self.attention(normed, keys, bias)[0]
        return x + self.mlp(self.norm2(x))


class Blocks(nn.Module):
    """Causal blocks; if `memory` (its width) is given, a block that attends to the memory follows each."""

    start = None

    def __init__(
        self, width: int, heads: int, depth: int, *, memory: int | None = None, extra_tokens: int
    ) -> None:
        super().__init__()
        self.extra_tokens = extra_tokens
        kinds = [None] if memory is None else [None, memory]
        self.blocks = nn.ModuleList(
            [Block(width, heads, memory=kind) for _ in range(depth) for kind in kinds]
        )

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self.blocks)

    @property
    def counted(self) -> Sequence[nn.Module]:
        return self.layers

    def forward(self, x: Tensor, bias: Tensor, memory: Tensor | None = None) -> Tensor:
        """Tokens [B, n, D]; without a memory, the blocks that attend to one are skipped."""
        for block in self.blocks:
            if block.norm_memory is None:
                x = block(x, bias)
            elif memory is not None:
                x = block(x, None, memory)
        return x


class CaptionDecoder(nn.Module):
    """Generates captions of a memory [B, m, memory] word by word, with twice `config.depth` causal blocks.

    split: the lower half does not attend to the memory, so that one pass of it embeds a caption and also
        serves the upper half; a learned class token, appended last, attends to all words and no padding, and
        no word attends to it. Otherwise every block is followed by one that attends to the memory, and a
        caption is embedded by a separate pass without these.

    embeds: whether captions are embedded at all; a decoder that does not is not split and has no class token.
    """

    no_decay = ("token",)
    """Prefixes of parameters without weight decay, which would shrink the vectors of rare words."""

    def __init__(
        self,
        config: TextConfig,
        vocabulary: Vocabulary,
        *,
        memory: int,
        split: bool = True,
        embeds: bool = True,
    ) -> None:
        super().__init__()
        if config.pretrained:
            raise UserError("a causal decoder cannot start from BERT weights: leave text.pretrained empty")
        if not config.depth:
            raise UserError("a caption decoder needs text.depth of at least 1")
        split = split and embeds
        self.config, self.vocabulary, self.split = config, vocabulary, split
        self.width = config.width
        self.bos, self.eos = vocabulary.id(BOS), vocabulary.id(EOS)
        self.token = nn.Embedding(vocabulary.size, self.width)
        self.position = nn.Parameter(torch.empty(vocabulary.length + 2, self.width))
        self.cls = nn.Parameter(torch.empty(self.width)) if embeds else None
        """The class token with its position."""
        for start in (self.token.weight, self.position, self.cls):
            if start is not None:
                nn.init.normal_(start, std=self.width**-0.5)
        depth = config.depth
        self.lower = Blocks(self.width, config.heads, depth if split else 0, extra_tokens=3)
        self.upper = Blocks(
            self.width, config.heads, depth if split else 2 * depth, memory=memory, extra_tokens=1
        )
        self.norm_pooled = nn.LayerNorm(self.width) if embeds else None
        self.norm = nn.LayerNorm(self.width)
        self.head = nn.Linear(self.width, vocabulary.size, bias=False)
        nn.init.normal_(self.head.weight, std=self.width**-0.5)

    @property
    def layers(self) -> Sequence[nn.Module]:
        return [*self.lower.layers, *self.upper.layers]

    @property
    def counted(self) -> Sequence[nn.Module]:
        return [*self.layers, self.head]

    @property
    def extra_tokens(self) -> int:
        return self.lower.extra_tokens if self.split else self.upper.extra_tokens

    @property
    def start(self) -> None:
        return None

    @property
    def halves(self) -> dict[str, Encoder]:
        """The blocks that embed captions and those that write them, for a recipe's `encoders`."""
        return {"text": self.lower, "decoder": self.upper} if self.split else {"text": self.upper}

    def read(self, text: Text) -> Read:
        """Reads captions without a memory."""
        assert self.cls is not None, "this decoder only writes"
        assert self.norm_pooled is not None
        words, tokens, valid = self.words(text)
        x = torch.cat([words, self.cls.expand(len(words), 1, -1)], 1)  # [B, S + 1, D]
        hidden = ~F.pad(valid, (0, 1), value=True)[:, None, None]  # [B, 1, 1, S + 1]
        bias = _causal(x.shape[1], x.device).masked_fill(hidden, float("-inf"))
        x = (self.lower if self.split else self.upper)(x, bias)
        return Read(self.norm_pooled(x[:, -1]), x[:, :-1] if self.split else words, tokens, valid)

    def words(self, text: Text) -> tuple[Tensor, Tensor, Tensor]:
        """Input of the first block [B, S, D], the tokens, and which are not padding, both [B, S]."""
        tokens, valid = self.spell(text)
        return self.token(tokens) + self.position, tokens, valid

    def forward(self, states: Tensor, memory: Tensor) -> Tensor:
        """Logits [B, n, V] of the next word at each of n positions, from `Read.states` or `words`."""
        x = self.upper(states, _causal(states.shape[1], states.device), memory)
        logits: Tensor = self.head(self.norm(x))
        return logits

    def spell(self, text: Text) -> tuple[Tensor, Tensor]:
        """Tokens with begin and end tokens, and which are not padding; both [B, S]."""
        length = text.layout.valid.sum(1, keepdim=True)
        place = torch.arange(text.tokens.shape[1] + 2, device=text.tokens.device)
        tokens = F.pad(text.tokens, (1, 1), value=self.vocabulary.pad)
        tokens = tokens.masked_fill(place == 0, self.bos).masked_fill(place == length + 1, self.eos)
        return tokens, place <= length + 1

    @torch.no_grad()
    def write(self, memory: Tensor, prompts: Sequence[str] | None = None, *, beams: int = 1) -> list[str]:
        """Captions of B memories, each beginning with its prompt if there are any.

        Beam search returns the caption with the highest mean log-probability of its words; with one beam it
        is greedy decoding.
        """
        written = [""] * len(memory)
        for rows, begun in self.vocabulary.by_length(prompts or written):
            tokens = self.search(memory[rows], begun.to(memory.device), beams=beams).tolist()
            for row, caption in zip(rows, tokens, strict=True):
                written[row] = self._decoded(caption)
        return written

    def _decoded(self, tokens: list[int]) -> str:
        """The words of a row from `search`, up to its end token."""
        marks = {self.bos, self.vocabulary.pad}
        end = (tokens + [self.eos]).index(self.eos)
        return self.vocabulary.decode([token for token in tokens[:end] if token not in marks])

    def search(self, memory: Tensor, begun: Tensor, *, beams: int = 1) -> Tensor:
        """As `write`, but from the tokens [B, i] of prompts to tokens [B, S] with begin, end and padding.

        On an accelerator it reads no values back, and always writes the full length. On a CPU it stops when
        every beam has ended, since only padding follows.
        """
        rows, pad = len(memory), self.vocabulary.pad
        tokens = F.pad(begun, (1, 0), value=self.bos).repeat_interleave(beams, 0)  # [B K, i + 1]
        memory = memory.repeat_interleave(beams, 0)
        never = torch.tensor([pad, self.vocabulary.cls, self.vocabulary.mask, self.bos], device=memory.device)
        # All beams begin with the same tokens, so only the first one may be extended in the first step.
        score = torch.full((rows, beams), float("-inf"), device=memory.device)
        score[:, 0] = 0.0
        written = torch.zeros(rows, beams, device=memory.device)
        start = torch.arange(rows, device=memory.device)[:, None] * beams
        over = torch.zeros(rows * beams, dtype=torch.bool, device=memory.device)
        for _ in range(tokens.shape[1], len(self.position)):
            if self._ended(over):
                break
            states = self.token(tokens) + self.position[: tokens.shape[1]]
            if self.split:
                states = self.lower(states, _causal(states.shape[1], states.device))
            logits = self(states, memory)[:, -1].float().index_fill(1, never, float("-inf"))
            chance = logits.log_softmax(1)
            # After its end a caption has only padding, which has log-probability 0.
            rest = torch.full_like(chance, float("-inf"))
            rest[:, pad] = 0.0
            chance = torch.where(over[:, None], rest, chance).view(rows, beams, -1)
            score, best = (score[..., None] + chance).flatten(1).topk(beams)  # [B, K]
            beam, word = best // chance.shape[-1], best % chance.shape[-1]
            source = (start + beam).flatten()
            tokens = torch.cat([tokens[source], word.view(-1, 1)], 1)
            written = written.gather(1, beam) + ~over[source].view(rows, beams)
            over = over[source] | (tokens[:, -1] == self.eos)
        chosen = (score / written.clamp(min=1)).argmax(1, keepdim=True)
        tokens = F.pad(tokens, (0, len(self.position) - tokens.shape[1]), value=pad)
        return tokens[(start + chosen).flatten()]

    @staticmethod
    def _ended(over: Tensor) -> bool:
        """Whether every beam is known to have ended; the host does not know it of beams on an accelerator."""
        return over.device.type == "cpu" and bool(over.all())


def _causal(length: int, device: torch.device) -> Tensor:
    """Bias [1, 1, n, n] that keeps each position from attending to later ones."""
    bias = torch.full((length, length), float("-inf"), device=device)
    return bias.triu(1)[None, None]
