"""OmniVL: one foundation model for image-language and video-language tasks (arXiv:2209.07526).

One encoder with two patch projections reads images, here single frames, and clips: first images alone
(`Stage(objective="images")`), then both in each step. Three terms:

- `vtc`, the unified contrast (UniVLC): captions and names of classes are both texts, and samples with the
  same class name are positives. Keys are computed by moving averages of the encoders (`momentum`) from the
  batch and from the last `queue` samples; their similarities are a share `alpha` of the target.
- `vtm`: pairs are distinguished from hard negatives by words that query the patches.
- `lm`: a causal decoder that attends to the patches predicts each next word of a caption.

Switches: `labels`, whether samples with equal class names are positives or only each pair; `queue`, 0 for
neither queue nor averages (the keys are then the batch's own features: without labels, the plain contrast);
and the stages of a run.

Differs from the paper: the shared small core from a random start; all frames are seen at once, not space and
time by turns; images are frames of the clips, with the clips' captions, and in one step with clips instead of
in batches by turns, unless images are mixed in (`Stage.mix`; `images=0` then leaves clips whole); classes
are those of the synthetic data, colour and shape for a frame, the two actions for a clip, and their bare
names are texts; a quarter of the texts are such names, which is our choice, as are the weights and a constant
`alpha`; one queue, empty at first, of 1,024 samples instead of 57,600; the decoder shares no weights with the
encoder that judges pairs and learns captions only; temperatures stop at 0.01.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from workbench import losses
from workbench.distributed import gather, own_rows, size
from workbench.errors import UserError
from workbench.fields import at_least, share
from workbench.masking.positions import counted, how_many
from workbench.masking.video import floor_count, lowest
from workbench.models.caption import BOS, EOS, CaptionDecoder, check_marks
from workbench.models.encoder import Encoder
from workbench.models.fusion import FusionConfig, FusionEncoder
from workbench.models.image import ImageVideoEncoder
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import Encoded
from workbench.recipe.abilities import JudgingPairs
from workbench.recipe.base import Phase
from workbench.recipe.batch import Batch, BatchRng, Draw, Text, to_device
from workbench.recipe.classes import ClassTable
from workbench.recipe.dual import DualConfig, DualEncoder
from workbench.recipe.momentum import Keys, Momentum

if TYPE_CHECKING:
    from workbench.data.store import FrameStore
    from workbench.data.truth import Truth


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A term of weight 0 is not computed."""

    vtc: float = 1.0
    vtm: float = 1.0
    lm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Config(DualConfig):
    text: TextConfig = field(default_factory=lambda: TextConfig(words=(BOS, EOS)))
    fusion: FusionConfig = field(default_factory=lambda: FusionConfig(mode="xattn"))
    temperature: float = 0.07
    images: float = 0.82
    """Share of the samples of a step that are images: 2,880 and 640 clips, as a published checkpoint says."""
    labelled: float = 0.25
    """Share of the samples whose text is the name of their class, if the data have classes."""
    labels: bool = True
    queue: int = 1024
    momentum: float = 0.995
    """Momentum of the averages: the share of their old value that they keep in each step."""
    alpha: float = 0.4
    weights: Weights = field(default_factory=Weights)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("recipe.queue", self.queue, 0)
        for name in ("images", "labelled", "momentum", "alpha"):
            share(f"recipe.{name}", getattr(self, name), "[0, 1]")
        if self.video_masking is not None or self.text_masking is not None or self.fusion.mode != "xattn":
            raise UserError("omnivl hides nothing, so it takes no masking, and needs fusion.mode='xattn'")
        check_marks("omnivl", self.text)


class Samples(NamedTuple):
    """The samples of this process in a step, clips before images; letters as in `Recipe`."""

    views: tuple[Tensor, Tensor]
    """Clips and images, uint8 [c, T, H, W, 3] and [i, 1, H, W, 3]; either may be empty."""
    frame: Tensor
    """int64 [B], index of the frame that an image shows; -1 for a clip."""
    text: Text
    """[B, L], captions and, for some samples, the name of their class."""
    named: Tensor
    """int64 [B], the class whose name the text is; 0 for a caption."""
    chance: Tensor
    """[B, 2], uniform numbers in [0, 1) that select the negatives of both sides."""
    images: int
    """Number of images among the samples of all processes."""

    @property
    def counts(self) -> list[int]:
        """Number of clips and number of images of this process."""
        return [len(view) for view in self.views]


class Encodings(NamedTuple):
    """The encoded `Samples`."""

    seen: list[Encoded | None]
    """Tokens of clips [c, n, D] and of images [i, n, D]; None if there are none."""
    read: Encoded
    """Tokens of texts, [B, L, D]."""
    video: Tensor
    """Unit vectors [B, E]."""
    text: Tensor
    """Unit vectors [B, E]."""


class WholeBatch(NamedTuple):
    """The samples of all processes together, all clips before all images."""

    order: Tensor
    """int64, the rows of all processes (numbered process by process) in this order."""
    place: Tensor
    """int64 [B], positions of the samples of this process in that order."""
    label: Tensor
    """int64 [B], labels of the samples of this process; equal labels are positives; 0 for no label."""
    keys: Keys
    """Features and labels of all samples, without queue or averages."""


class Recipe(JudgingPairs, DualEncoder):
    """Shows some clips as images, names the classes of some; encodes, contrasts, judges and writes captions.

    Letters: B batch, c clips and i images in it, n tokens of one of either, L positions of a caption, S = L +
    2 with its begin and end tokens, D width, E shared space, K keys, P pairs, V vocabulary.
    """

    DISTRIBUTED: ClassVar = True
    READS_IMAGES: ClassVar = True

    PHASES: ClassVar = {"images": Phase()}
    video: ImageVideoEncoder

    def __init__(self, config: Config, *, frames: int, size: int, vocabulary: Vocabulary) -> None:
        super().__init__(config, frames=frames, size=size, vocabulary=vocabulary)
        self.vocabulary, self.classes = vocabulary, ClassTable()
        self.video = ImageVideoEncoder(config.video, frames=frames, size=size)
        self.text = TextEncoder(config.text, vocabulary)
        width = self.video.width
        self.fusion = FusionEncoder(config.fusion, video_width=width, text_width=self.text.width)
        self.match_head = nn.Linear(config.fusion.width, 2)
        written = replace(config.text, depth=1, pretrained="")
        self.writer = CaptionDecoder(written, vocabulary, memory=width, embeds=False)
        self.build_heads(config)
        if config.queue:
            self.momentum = Momentum(self, size=config.queue, embed=config.embed)

    def encoders(self) -> dict[str, Encoder]:
        own = {"video": self.video, "text": self.text, "fusion": self.fusion, "decoder": self.writer.upper}
        average: Any = self.momentum.average if self.config.queue else {}
        return own | {f"teacher_{name}": average[name] for name in ("video", "text") if name in average}

    def attach(self, truths: Sequence[Truth | None]) -> None:
        self.classes.fill(truths, self.vocabulary)

    def prepare(self, store: FrameStore, rng: torch.Generator) -> float:
        if self.config.queue:
            self.momentum.follow(self, 0.0)  # because the parts may have started from another run
        return 0.0

    def after_step(self, done: float) -> None:
        if self.config.queue:
            self.momentum.follow(self, self.config.momentum)

    def draw(self, batch: Batch, rng: BatchRng, *, objective: str = "recipe", masked: bool = True) -> Draw:
        """Random choices of each sample: image or clip, text, and negatives.

        They are the frame [B] that an image shows, -1 for a clip; whether the text [B] is the name of the
        class; and uniform numbers in [0, 1) that select the negatives of both sides, [B, 2]."""
        if objective == "align":
            return Draw()
        rows, frames = batch.video.shape[:2]
        whole, host = rows * rng.size, rng.on_host  # so that the host knows the number of images
        images = whole if objective == "images" else self._images(batch, whole)
        image = host.own(lowest(host.for_all().uniform(whole), images))
        frame = to_device(host.integers(0, frames, rows).masked_fill(~image, -1), rng.device)
        image = counted(to_device(image, rng.device), int(image.sum()))
        labelled = rng.own(lowest(rng.for_all().uniform(whole), floor_count(self.config.labelled, whole)))
        chosen = {"image": image, "frame": frame, "labelled": labelled}
        return Draw(chosen={**chosen, "negatives": rng.uniform(rows, 2)})

    def losses(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        return self._learn(batch, draw, self._images(batch, len(batch.video) * size()))

    def images(self, batch: Batch, draw: Draw) -> dict[str, Tensor]:
        """The first phase: the same losses, on images alone."""
        return self._learn(batch, draw, len(batch.video) * size())

    def _images(self, batch: Batch, rows: int) -> int:
        """Number of rows of all processes that are shown as images: all of them in a batch of images."""
        alone = self.video.project_image is not None and batch.video.shape[1] == 1
        return rows if alone else floor_count(self.config.images, rows)

    def _learn(self, batch: Batch, draw: Draw, images: int) -> dict[str, Tensor]:
        """images: number of samples of all processes that are shown as images."""
        weights, terms = self.config.weights, {}
        samples = self._show(batch, draw, images)
        encoded = self._encode(samples)
        whole = self._gathered(samples, encoded)
        if weights.vtc:
            terms["vtc"] = self._contrast(samples, encoded, whole)
        if weights.vtm:
            terms["vtm"] = self._match(samples, encoded, whole)
        if weights.lm:
            terms["lm"] = self._write(samples, encoded)
        return terms

    def _show(self, batch: Batch, draw: Draw, images: int) -> Samples:
        """Takes the frame of each image from its clip, and replaces some captions by class names."""
        clips = len(batch.video) - how_many(draw.chosen["image"])
        clips_first = draw.chosen["frame"].argsort(stable=True)
        batch = batch.select(clips_first)
        frame, labelled, chance = (
            draw.chosen[name][clips_first] for name in ("frame", "labelled", "negatives")
        )
        row = torch.arange(len(frame) - clips, device=frame.device)
        pictures = batch.video[clips:][row, frame[clips:]][:, None]
        named = self.classes(batch, frame >= 0) * labelled
        text = self.classes.named(batch.text, named)
        return Samples((batch.video[:clips], pictures), frame, text, named, chance, images)

    def _encode(self, samples: Samples) -> Encodings:
        seen = [self.video(view) if len(view) else None for view in samples.views]
        read = self.text(samples.text)
        pooled = torch.cat([kind.pooled for kind in seen if kind is not None])  # [B, D]
        if size() > 1:  # a process may have no sample of a kind that others have
            clips = len(pooled) * size() - samples.images
            for image, count in ((False, clips), (True, samples.images)):
                if seen[image] is None and count:
                    pooled = pooled + self.video.unread(image=image)
        return Encodings(seen, read, *self.project(pooled, read.pooled))

    def _gathered(self, samples: Samples, encoded: Encodings) -> WholeBatch:
        named = samples.named
        label = named if self.config.labels else torch.zeros_like(named)
        order = gather(samples.frame).argsort(stable=True)
        place = order.argsort()[own_rows(len(named), named.device)]
        sides = (encoded.video, encoded.text, label)
        return WholeBatch(order, place, label, Keys(*(gather(side)[order] for side in sides)))

    def _contrast(self, samples: Samples, encoded: Encodings, whole: WholeBatch) -> Tensor:
        """UniVLC with keys of the averages and the queue, or without a queue with the batch's features."""
        keys, alpha = whole.keys, 0.0
        if self.config.queue:
            views = [view for view in samples.views if len(view)]
            keys, alpha = self.momentum(views, samples.text, whole.label, whole.order), self.config.alpha
        return losses.univlc(
            encoded.video,
            encoded.text,
            keys[:2],
            keys.together(whole.label, whole.place),  # [B, K]
            self.temperature(),
            alpha=alpha,
            real=keys.real,
            rows=whole.place,
        )

    def _match(self, samples: Samples, encoded: Encodings, whole: WholeBatch) -> Tensor:
        """Matching loss of 3B pairs, true ones and hard negatives of the same kind (clip or image)."""
        order = whole.order
        # A class name fits every sample of its class, whether or not labels count in the contrast.
        keys = whole.keys._replace(label=gather(samples.named)[order])
        same, chance = keys.together(keys.label), gather(samples.chance)[order]  # all by all, [., 2]
        with torch.autocast(order.device.type, enabled=False):  # see `losses.vtc`
            scores = gather((self.temperature() * encoded.video @ keys.text.T).detach())[order]
        words, keep = gather(encoded.read.tokens)[order], gather(samples.text.layout.valid)[order]
        first_image, places = len(order) - samples.images, whole.place.split(samples.counts)
        logits, matched = [], []
        for image, kind in enumerate((slice(0, first_image), slice(first_image, len(order)))):
            if kind.start == kind.stop:
                continue
            positive, own = same[kind, kind], places[image] - kind.start
            other_clips, other_texts = losses.hard_negatives(scores[kind, kind], positive, chance[kind])
            rows = torch.cat([own, other_clips[own], own])
            columns = torch.cat([own, own, other_texts[own]])
            patches = self._of_all(encoded.seen[image], encoded.video, order[kind], image=bool(image))
            logits.append(self.judge(patches[rows], words[kind][columns], keep[kind][columns]))
            matched.append(positive[rows, columns])
        return losses.vtm(torch.cat(logits), torch.cat(matched))

    def _write(self, samples: Samples, encoded: Encodings) -> Tensor:
        """Loss of each next word of captions; names of classes are not predicted."""
        states, tokens, valid = self.writer.words(samples.text)  # [B, S, D], [B, S], [B, S]
        parts = zip(encoded.seen, states[:, :-1].split(samples.counts), strict=True)
        logits = torch.cat([self.writer(part, kind.tokens) for kind, part in parts if kind is not None])
        if size() > 1:  # a process may have no clips: all have gradients of the same parameters
            logits = logits + 0 * encoded.video.sum()
        asked = valid[:, 1:] & (samples.named == 0)[:, None]
        return losses.lm(logits, tokens[:, 1:], asked)  # of [B, S - 1, V]

    def _of_all(self, seen: Encoded | None, like: Tensor, rows: Tensor, *, image: bool) -> Tensor:
        """Tokens of the clips or of the images of all processes, [C, n, D] or [I, n, D].

        Args:
            seen: those of this process, None if it has none.
        like: a tensor with a row for each sample of this process, clips first.
        rows: indices of the selected rows of all processes.
        """
        if size() == 1 and seen is not None:
            return seen.tokens
        count = self.grid.space if image else self.grid.tokens
        # A process without such samples must take part in the backward pass as well.
        whole = like.new_zeros(len(like), count, self.video.width) + 0 * like.sum()
        if seen is not None:
            none = whole[len(seen.tokens) :]
            whole = torch.cat([none, seen.tokens] if image else [seen.tokens, none])
        return gather(whole)[rows]

    def generate(self, video: Tensor, prompts: Sequence[str] | None = None, *, beams: int = 1) -> list[str]:
        """Captions of clips [B, T, H, W, 3], which begin with their prompts if there are any."""
        return self.writer.write(self.video(video).tokens, prompts, beams=beams)
