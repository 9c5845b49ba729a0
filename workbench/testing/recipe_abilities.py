"""Contract tests of recipes that embed, align or judge pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from workbench.testing.recipe_base import Asked, needs
from workbench.testing.world import FRAMES, SIZE, step


class Abilities(Asked):
    """Tests of those recipes only that define what is asked."""

    @needs("embed_video", "embed_text")
    def test_embeddings_are_unit_vectors_of_one_space(self, name: str, recipe: Any, batch: Any) -> None:
        video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
        assert video.shape == text.shape
        assert video.dtype == text.dtype == torch.float32
        for side in (video, text):
            assert torch.allclose(side.norm(dim=1), torch.ones(len(side)), atol=1e-5)

    @needs("embed_video", "embed_text")
    def test_embedding_shows_every_patch_and_every_word(
        self, name: str, recipe: Any, batch: Any, vocabulary: Any
    ) -> None:
        """Unmasked evaluation, seen from outside: whatever is changed, the embedding changes."""
        recipe.eval()
        with torch.no_grad():
            video, text = batch.video[:1], batch.text.select(slice(0, 1))
            before = recipe.embed_video(video)
            encoder = recipe.encoders()["video"]
            q, p = encoder.config.tubelet, encoder.patch
            for t in range(0, FRAMES, q):
                for h in range(0, SIZE, p):
                    for w in range(0, SIZE, p):
                        other = video.clone()
                        other[:, t : t + q, h : h + p, w : w + p] ^= 255
                        assert not torch.equal(recipe.embed_video(other), before), (t, h, w)
            before = recipe.embed_text(text)
            for place in range(int(text.layout.valid.sum())):
                tokens = text.tokens.clone()
                tokens[0, place] = vocabulary.unk
                assert not torch.equal(recipe.embed_text(text._replace(tokens=tokens)), before), place

    @needs("embed_video", "embed_text")
    def test_a_clip_is_embedded_alike_alone_and_in_company(self, name: str, recipe: Any, batch: Any) -> None:
        recipe.eval()
        with torch.no_grad():
            video, text = recipe.embed_video(batch.video), recipe.embed_text(batch.text)
            alone = batch.text.select(slice(2, 3))
            assert torch.allclose(recipe.embed_video(batch.video[2:3]), video[2:3], atol=1e-5)
            assert torch.allclose(recipe.embed_text(alone), text[2:3], atol=1e-5)

    @needs("embed_video", "embed_text")
    def test_an_empty_caption_is_embedded_as_something_finite(
        self, name: str, recipe: Any, vocabulary: Any
    ) -> None:
        assert torch.isfinite(recipe.embed_text(vocabulary.encode(["", "red moon"]))).all()

    @needs("align")
    @pytest.mark.parametrize("masked", [True, False])
    def test_the_shared_alignment_stage_reaches_both_sides(
        self, name: str, recipe: Any, batch: Any, masked: bool
    ) -> None:
        terms = step(recipe, batch, objective="align", masked=masked)
        assert list(terms) == ["vtc"]
        terms["vtc"].backward()
        encoders = recipe.encoders()
        assert encoders["video"].project.weight.grad.any()
        for side in {"video", "text"} & set(encoders):
            assert any(p.grad is not None and p.grad.any() for p in encoders[side].parameters()), side

    @needs("match")
    def test_a_pair_is_judged_alike_alone_and_in_company(self, name: str, recipe: Any, batch: Any) -> None:
        recipe.eval()
        with torch.no_grad():
            logits = recipe.match(batch.video, batch.text)
            assert logits.shape == (8,)
            assert torch.isfinite(logits).all()
            alone = recipe.match(batch.video[2:3], batch.text.select(slice(2, 3)))
            assert torch.allclose(alone, logits[2:3], atol=1e-5)

    @needs("match")
    def test_the_judgement_depends_on_both_sides(self, name: str, recipe: Any, batch: Any) -> None:
        recipe.eval()
        with torch.no_grad():
            logits = recipe.match(batch.video, batch.text)
            assert not torch.equal(recipe.match(batch.video.flip(0), batch.text), logits)
            assert not torch.equal(
                recipe.match(batch.video, batch.text.select(torch.arange(7, -1, -1))), logits
            )

    @needs("match")
    def test_no_two_of_128_different_pairs_score_the_same(
        self, name: str, recipe: Any, vocabulary: Any
    ) -> None:
        clips = torch.randint(
            0, 256, (128, FRAMES, SIZE, SIZE, 3), generator=torch.Generator().manual_seed(0)
        )
        text = vocabulary.encode(["red ball rolls left"] * 128)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            scores = recipe.eval().match(clips.to(torch.uint8), text)
        assert scores.dtype == torch.float32
        coarse = scores.to(torch.bfloat16).unique().numel()
        assert scores.unique().numel() > max(120, coarse), "bfloat16 would make ties"

    @needs("match")
    def test_it_is_trained_as_it_judges(self, name: str, recipe: Any, batch: Any) -> None:
        head = getattr(recipe, "match_head", None) or recipe.word_head
        said = []
        head.register_forward_hook(lambda module, given, out: said.append(out.dtype))
        with torch.autocast("cpu", torch.bfloat16):
            step(recipe, batch)
        assert torch.float32 in said
