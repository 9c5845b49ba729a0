"""A video encoder that also reads single images, with a separate projection (OmniVL, arXiv:2209.07526)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from workbench.errors import UserError
from workbench.models.video import VideoConfig, VideoEncoder


class ImageVideoEncoder(VideoEncoder):
    """Reads clips and images, which are clips of one frame.

    Images share spatial positions, class token, blocks and norms with clips, and have no temporal position.
    If all clips have one frame there is only one projection.

    Letters: B batch, H W pixels, h w patches of a frame, p side of a patch, D width.
    """

    def __init__(self, config: VideoConfig, *, frames: int, size: int) -> None:
        super().__init__(config, frames=frames, size=size)
        self.project_image = nn.Linear(self.patch**2 * 3, self.width) if frames > 1 else None

    @property
    def counted(self) -> Sequence[nn.Module]:
        images = [] if self.project_image is None else [self.project_image]
        return [*super().counted, *images]

    def embed(self, video: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens of uint8 clips as in `VideoEncoder`, or of images [B, 1, H, W, 3] as [B, h * w, D]."""
        if self.project_image is None or video.shape[1] > 1:
            return super().embed(video, mask)
        if mask is not None:
            raise UserError("single images are read whole: no mask of theirs is known")
        rows = video[:, 0].unflatten(1, (-1, self.patch)).unflatten(3, (-1, self.patch))  # [B, h, p, w, p, 3]
        patches = rows.transpose(2, 3).flatten(3).flatten(1, 2)  # [B, h * w, p * p * 3]
        pixels = patches.shape[-1]
        seen = patches * self.scale[:pixels] + self.shift[:pixels]
        place = self.space if self.fixed is None else self.space + self.fixed[: self.grid.space]
        tokens: Tensor = self.project_image(seen) + place
        return tokens

    def unread(self, *, image: bool) -> Tensor:
        """Zero, with zero gradients for the parameters that only images, or only clips, use.

        A process may have none of them in its part of a batch while other processes do.
        """
        unread = [] if self.project_image is None else [*self.project.parameters(), self.time]
        if image and self.project_image is not None:
            unread = [*self.project_image.parameters()]
        return sum((0 * parameter.sum() for parameter in unread), self.space.new_zeros(()))
