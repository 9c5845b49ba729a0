"""Other people's models at the same work as ours: the same clips, tokens, share hidden, widths and depths.

Each is a module that turns a batch into a loss. What they have in common: uint8 clips are brought to the
device, made numbers there and standardised, as ours are; hidden tokens are dropped before the encoder.
timm and open_clip see a clip as one wide picture, its tubelets side by side and the frames of a tubelet as
colour channels, so that every token may attend to every other one, as in ours.

Letters: B batch, T frames, H W pixels, N tokens of a clip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from transformers import VideoMAEConfig, VideoMAEForPreTraining

from workbench import losses
from workbench.models.decoder import DecoderConfig
from workbench.models.pretrained.source import MEAN, STD
from workbench.models.text import TextConfig, TextEncoder, Vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import Batch
from workbench.recipe.heads import Temperature, projection, unit


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is measured: a core that reads clips of which a share is hidden."""

    video: VideoConfig
    text: TextConfig
    decoder: DecoderConfig
    frames: int
    size: int
    ratio: float
    embed: int = 128

    @property
    def tokens(self) -> int:
        return self.frames // self.video.tubelet * (self.size // self.video.patch) ** 2


class Peer(nn.Module):
    """A model that turns a batch into a loss."""

    mean: Tensor
    std: Tensor

    def __init__(self, work: Work, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.work, self.vocabulary = work, vocabulary
        self.register_buffer("mean", torch.tensor(MEAN))
        self.register_buffer("std", torch.tensor(STD))
        self.build()

    def build(self) -> None:
        raise NotImplementedError

    def standardised(self, batch: Batch) -> Tensor:
        """[B, T, H, W, 3], numbers around zero."""
        return (batch.video / 255 - self.mean) / self.std

    def picture(self, batch: Batch) -> Tensor:
        """[B, 3 * tubelet, H, T / tubelet * W]"""
        video = self.standardised(batch).unflatten(1, (-1, self.work.video.tubelet))
        return video.permute(0, 2, 5, 3, 1, 4).flatten(4).flatten(1, 2)


class HuggingFaceVideoMAE(Peer):
    """transformers' VideoMAE for pre-training, which predicts standardised pixels of what is hidden."""

    def build(self) -> None:
        work, video, decoder = self.work, self.work.video, self.work.decoder
        config = VideoMAEConfig(
            image_size=work.size, patch_size=video.patch, num_frames=work.frames, tubelet_size=video.tubelet,
            hidden_size=video.width, num_hidden_layers=video.depth, num_attention_heads=video.heads,
            intermediate_size=4 * video.width, decoder_hidden_size=decoder.width,
            decoder_num_hidden_layers=decoder.depth, decoder_num_attention_heads=decoder.heads,
            decoder_intermediate_size=4 * decoder.width,
        )  # fmt: skip
        self.model = VideoMAEForPreTraining(config)
        self.drawing: torch.Generator | None = None

    def forward(self, batch: Batch) -> Tensor:
        places = (self.work.size // self.work.video.patch) ** 2
        hidden = int(self.work.ratio * places)
        device = batch.video.device
        if self.drawing is None:
            self.drawing = torch.Generator(device).manual_seed(0)
        order = torch.rand(len(batch.video), places, generator=self.drawing, device=device).argsort(1)
        mask = (order < hidden).repeat(1, self.work.tokens // places)  # a tube hides one place at all times
        video = self.standardised(batch).permute(0, 1, 4, 2, 3)
        loss: Tensor = self.model(video, bool_masked_pos=mask).loss
        return loss


class Timm(Peer):
    """timm's plain ViT with patch dropout, beside our own text encoder and contrast."""

    def build(self) -> None:
        work, video = self.work, self.work.video
        self.video = VisionTransformer(
            img_size=(work.size, work.size * work.frames // video.tubelet), patch_size=video.patch,
            in_chans=3 * video.tubelet, embed_dim=video.width, depth=video.depth, num_heads=video.heads,
            num_classes=0, patch_drop_rate=work.ratio,
        )  # fmt: skip
        self.text = TextEncoder(work.text, self.vocabulary)
        self.heads = nn.ModuleList(projection(w, work.embed) for w in (video.width, work.text.width))
        self.temperature = Temperature(0.05, learned=True)

    def forward(self, batch: Batch) -> Tensor:
        video, text = self.video(self.picture(batch)), self.text(batch.text).pooled
        sides = [unit(head(side)) for head, side in zip(self.heads, (video, text), strict=True)]
        return losses.vtc(sides[0], sides[1], self.temperature())


class OpenClip(Peer):
    """open_clip's CLIP with patch dropout and its own text encoder, of as many words, and its loss."""

    def build(self) -> None:
        import open_clip
        from open_clip.model import CLIPTextCfg, CLIPVisionCfg

        work, video, text = self.work, self.work.video, self.work.text
        vision = CLIPVisionCfg(
            layers=video.depth, width=video.width, head_width=video.width // video.heads,
            patch_size=video.patch, image_size=(work.size, work.size * work.frames // video.tubelet),
            patch_dropout=work.ratio,
        )  # fmt: skip
        words = CLIPTextCfg(
            context_length=self.vocabulary.length, vocab_size=self.vocabulary.tokenizer.get_vocab_size(),
            width=text.width, heads=text.heads, layers=text.depth,
        )  # fmt: skip
        self.model = open_clip.CLIP(work.embed, vision, words)
        wide = {"kernel_size": video.patch, "stride": video.patch, "bias": False}
        self.model.visual.conv1 = nn.Conv2d(3 * video.tubelet, video.width, **wide)
        self.loss = open_clip.ClipLoss()

    def forward(self, batch: Batch) -> Tensor:
        found: Any = self.model(self.picture(batch), batch.text.tokens.long())
        loss: Tensor = self.loss(*found[:3])
        return loss


CONTRASTS = {"timm": Timm, "open_clip": OpenClip}
RECONSTRUCTIONS = {"transformers": HuggingFaceVideoMAE}
