"""OmniVL: the unified contrast against a loop, averages and queue, two projections, classes as texts."""

import math
from dataclasses import replace

import overfit
import pytest
import torch
from drawn import write_drawn
from small import recipe_module, shrink

from workbench import data, losses
from workbench.config import Budget, Stage
from workbench.errors import UserError
from workbench.models.image import ImageVideoEncoder
from workbench.models.teacher import Queue
from workbench.models.text import vocabulary
from workbench.models.video import VideoConfig
from workbench.recipe.batch import Batch, BatchRng
from workbench.recipe.heads import unit
from workbench.recipe.momentum import Keys
from workbench.train.cost import StepCounter
from workbench.train.loop import train

omnivl = recipe_module("omnivl")
TINY = replace(shrink(omnivl.Config()), queue=10, images=0.5)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_drawn(tmp_path_factory.mktemp("drawn") / "frames", shrink=4)


@pytest.fixture(scope="module")
def words(store):
    return vocabulary(store.splits["train"].captions, omnivl.Config().text)


@pytest.fixture(scope="module")
def batch(store, words):
    clips = store.splits["train"].clips[:8]
    plain = Batch.of(torch.from_numpy(store.frames[clips]), words.encode(store.splits["train"].captions[:8]))
    return plain._replace(index=torch.from_numpy(clips))


def made(store, words, config=TINY, frames=8):
    torch.manual_seed(0)
    recipe = omnivl.Recipe(config, frames=frames, size=16, vocabulary=words)
    recipe.attach([data.truth_of(store)])
    return recipe.eval()


def drawn(recipe, batch, seed=0, **options):
    return recipe.draw(batch, BatchRng.seeded(seed), **options)


class TestUnifiedContrast:
    def naive(self, video, text, keys, same, scale, alpha, real):
        total = 0.0
        for side, others, own in ((video, keys[1], keys[0]), (text, keys[0], keys[1])):
            count = [j for j in range(len(others)) if real[j]]
            for i in range(len(side)):
                score = [scale * float(side[i] @ others[j]) for j in count]
                told = [scale * float(own[i] @ others[j]) for j in count]
                most = math.log(sum(map(math.exp, score)))
                share = sum(map(math.exp, told))
                for place, j in enumerate(count):
                    wanted = (1 - alpha) * float(same[i, j]) + alpha * math.exp(told[place]) / share
                    total -= wanted * (score[place] - most) / (2 * len(side))
        return total

    @pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
    def test_it_is_a_loop_of_its_formula_with_several_targets(self, alpha):
        video, text = unit(rows(5, 6)), unit(rows(5, 6, seed=1))
        keys = unit(rows(9, 6, seed=2)), unit(rows(9, 6, seed=3))
        label = torch.tensor([1, 0, 1, 2, 0])
        same = Keys(*keys, torch.cat([label, torch.tensor([2, 1, 0, 1])])).together(label)
        real = torch.tensor([True] * 8 + [False])
        same[:, 8] = False
        found = losses.univlc(video, text, keys, same, 3.0, alpha=alpha, real=real)
        assert same.sum(1).tolist() == [3, 1, 3, 2, 1], "targets of several are not divided by their number"
        assert found.item() == pytest.approx(self.naive(video, text, keys, same, 3.0, alpha, real), abs=1e-6)

    def test_where_each_belongs_to_itself_only_it_is_the_plain_contrast_with_its_gradients(self):
        found = []
        for plain in (True, False):
            video, text = (unit(rows(6, 4, seed=seed)).requires_grad_() for seed in (0, 1))
            loss = (
                losses.vtc(video, text, 20.0)
                if plain
                else losses.univlc(video, text, (video, text), torch.eye(6, dtype=torch.bool), 20.0)
            )
            loss.backward()
            found.append((loss, video.grad, text.grad))
        for one, other in zip(*found, strict=True):
            assert torch.allclose(one, other, atol=1e-6)

    @pytest.mark.parametrize(("label", "sign"), [((4, 4, 0), -1), ((4, 5, 0), 1), ((0, 0, 0), 1)])
    def test_what_has_the_same_label_attracts_and_what_has_not_repels(self, label, sign):
        label, text = torch.tensor(label), torch.eye(3)  # so that features are scores
        video = (0.1 * rows(3, 3)).requires_grad_()
        same = Keys(video, text, label).together(label)
        losses.univlc(video, text, (video.detach(), text), same, 1.0).backward()
        assert math.copysign(1, video.grad[0, 1].item()) == sign

    def test_labels_are_told_apart_and_none_is_no_label(self):
        label = torch.tensor([3, 0, 3, 0])
        found = Keys(rows(6, 2), rows(6, 2), torch.tensor([3, 0, 3, 0, 3, 0])).together(label)
        assert found.int().tolist() == [
            [1, 0, 1, 0, 1, 0], [0, 1, 0, 0, 0, 0], [1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0],
        ]  # fmt: skip


class TestQueue:
    def test_it_holds_the_last_rows_in_order(self):
        queue, seen = Queue(5, 2), torch.arange(1, 15)
        for part in seen.split([2, 2, 3, 7]):
            assert queue.real.sum() == min(5, int(part[0]) - 1)
            queue.put(part[:, None].expand(-1, 2).float(), -part[:, None].expand(-1, 2).float(), part)
            last = seen[: int(part[-1])][-5:]
            held = queue.label[queue.real]
            assert sorted(held.tolist()) == last.tolist()
            assert torch.equal(queue.video[queue.real][:, 1], held.float())
            assert torch.equal(queue.text[queue.real][:, 0], -held.float())
        oldest = int(queue.written) % 5
        assert torch.equal(queue.label.roll(-oldest), seen[-5:])
        assert {name for name, _ in queue.named_buffers()} == set(queue.state_dict())

    def test_a_step_puts_what_the_averages_made_and_only_after_it(self, store, words, batch):
        recipe = made(store, words)
        draw = drawn(recipe, batch)
        for step in range(2):
            recipe(batch, draw)
            assert int(recipe.momentum.queue.written) == 8 * step
            recipe.after_step(0.5)
        queue, average = recipe.momentum.queue, recipe.momentum.average
        assert int(queue.written) == 16
        assert queue.real.all()
        order = draw.chosen["frame"].argsort(stable=True)[:4]  # the clips, of the first eight places of 16
        video = unit(average["video_head"](average["video"](batch.video[order]).pooled))
        assert torch.allclose(queue.video.roll(-6, 0)[2:6], video, atol=1e-5)
        recipe.after_step(0.6)
        assert int(queue.written) == 16, "nothing was seen in between"

    def test_what_it_holds_counts_in_the_loss(self, store, words, batch):
        recipe = made(store, words, replace(TINY, labelled=0.0))
        draw = drawn(recipe, batch)
        before = recipe(batch, draw)["vtc"]
        recipe.after_step(0.5)
        assert 0.1 < recipe(batch, draw)["vtc"] - before < 3, "eight more keys"


class TestAverages:
    def test_they_follow_after_a_step_and_no_gradient_reaches_them(self, store, words, batch):
        recipe = made(store, words)
        names = [name for name, _ in recipe.named_parameters() if name.startswith("momentum.")]
        assert len(names) == len([n for n in names if not recipe.get_parameter(n).requires_grad]) > 20
        before = {name: recipe.get_parameter(name).clone() for name in names}
        sum(recipe(batch, drawn(recipe, batch)).values()).backward()
        with torch.no_grad():
            for parameter in recipe.parameters():
                if parameter.requires_grad:
                    parameter += 1.0
        assert all(torch.equal(recipe.get_parameter(name), value) for name, value in before.items())
        recipe.after_step(0.5)
        for name, value in before.items():
            own = recipe.get_parameter(name.removeprefix("momentum.average."))
            assert torch.allclose(recipe.get_parameter(name), 0.995 * value + 0.005 * own, atol=1e-6)
        recipe.prepare(store, torch.Generator())
        assert all(
            torch.equal(recipe.get_parameter(n), recipe.get_parameter(n.removeprefix("momentum.average.")))
            for n in names
        )

    def test_without_a_queue_there_are_none_and_the_loss_is_that_of_own_features(self, store, words, batch):
        recipe = made(store, words, replace(TINY, queue=0, labels=False, images=0.0, labelled=0.0))
        assert not any("momentum" in name for name in recipe.state_dict())
        plain = losses.vtc(
            recipe.embed_video(batch.video), recipe.embed_text(batch.text), recipe.temperature()
        )
        assert recipe(batch, drawn(recipe, batch))["vtc"].item() == pytest.approx(plain.item(), abs=1e-6)
        labelled = made(store, words, replace(TINY, queue=0, images=1.0, labelled=1.0))
        same = replace(labelled.config, labels=False)
        alike = made(store, words, same)
        one, other = (r(batch, drawn(r, batch))["vtc"].item() for r in (labelled, alike))
        kinds = labelled.classes(batch, torch.ones(8, dtype=torch.bool)).tolist()
        assert (one != other) == (len(set(kinds)) < 8), "classes matter where two rows have the same"


class TestImages:
    def test_an_image_is_read_by_its_own_projection_and_has_no_time(self):
        config = VideoConfig(width=32, depth=1, heads=2, patch=8, tubelet=2)
        encoder = ImageVideoEncoder(config, frames=4, size=16)
        clip = torch.randint(0, 256, (3, 4, 16, 24, 3), dtype=torch.uint8)[:, :, :, :16]
        tokens = encoder.embed(clip[:, :1])
        assert tokens.shape == (3, 4, 32)
        normal = clip[:, 0] * encoder.scale[:3] + encoder.shift[:3]
        patch = normal[1, 8:, :8].flatten()  # the lower left one
        assert torch.allclose(tokens[1, 2], encoder.project_image(patch) + encoder.space[2], atol=1e-5)
        weight = torch.linspace(-1, 1, 32)  # what a norm makes has the same sum whatever it reads
        (encoder(clip[:, :1]).pooled * weight).sum().backward()
        assert encoder.project.weight.grad is None
        assert encoder.time.grad is None
        assert encoder.space.grad.any()
        encoder.zero_grad()
        (encoder(clip).pooled * weight).sum().backward()
        assert encoder.project_image.weight.grad is None
        with pytest.raises(UserError, match="read whole"):
            encoder(clip[:, :1], torch.ones(3, 4, dtype=torch.bool))
        assert ImageVideoEncoder(config, frames=2, size=16).project_image is not None
        single = ImageVideoEncoder(replace(config, tubelet=1), frames=1, size=16)
        assert single.project_image is None
        assert single(clip[:, :1]).tokens.shape == (3, 4, 32)

    def test_a_step_shows_the_drawn_frames_and_whole_clips(self, store, words, batch, monkeypatch):
        recipe, seen = made(store, words), []
        encode = recipe.video.forward
        monkeypatch.setattr(
            recipe.video, "forward", lambda video, mask=None: seen.append(video) or encode(video)
        )
        draw = drawn(recipe, batch)
        recipe(batch, draw)
        frame = draw.chosen["frame"]
        assert [len(video) for video in seen] == [4, 4]
        assert torch.equal(seen[0], batch.video[frame < 0])
        shown = frame.argsort(stable=True)[4:]
        assert torch.equal(seen[1][:, 0], batch.video[shown, frame[shown]])
        assert len(frame[shown].unique()) > 1

    def test_the_first_phase_leaves_what_is_of_clips_alone(self, tmp_path):
        pairs = overfit.write_pairs(tmp_path / "pairs")
        config = overfit.two_stages(TINY, 2, 1)
        stage = Stage(objective="images", budget=Budget(unit="steps", amount=2))
        session = overfit.session_of(replace(config, stages=(stage,)), pairs)
        before = overfit.weights(session)
        list(train(session))
        still = {name for name, value in overfit.weights(session).items() if torch.equal(value, before[name])}
        own = {"video.project.weight", "video.project.bias", "video.time"}
        assert {name for name in still if name in session.trained} == own
        assert session.costs["cost/video_tokens_out"] == 4, "of one frame each"
        assert "embed_video" in session.untrained

    @pytest.mark.parametrize(("images", "tokens"), [(0.0, 16), (0.5, 10), (1.0, 4)])
    def test_every_pass_is_counted(self, store, words, batch, images, tokens):
        recipe = made(store, words, replace(TINY, images=images))
        with StepCounter(recipe, 8) as counter:
            recipe(batch, drawn(recipe, batch))
        found = counter.cost
        passes = {name: found.passes(name) for name in recipe.encoders()}
        once = dict.fromkeys(("video", "text", "decoder", "teacher_video", "teacher_text"), 1.0)
        assert passes == once | {"fusion": 3.0}
        assert found.tokens_out == tokens


class TestClasses:
    def test_names_come_from_the_drawn_world_and_are_told_apart(self, store, words, batch):
        classes = made(store, words).classes
        for whole in (True, False):
            kind = classes(batch, torch.full((8,), not whole))
            for row, number in enumerate(kind.tolist()):
                known = {name: values[int(batch.index[row])] for name, values in store.attributes.items()}
                name = f"{known['colour']} {known['shape']}" if not whole else ""
                assert classes.names[number] == name
        assert not classes(batch._replace(index=batch.index * 0 - 1), torch.ones(8, dtype=torch.bool)).any()

    def test_a_label_is_the_class_of_a_clip_and_a_text(self, store, words, batch):
        recipe = made(store, words)
        truth = replace(data.truth_of(store), labels=["spins then grows", ""] * (len(store.clip_ids) // 2))
        recipe.attach([None, truth])
        there = batch._replace(source=batch.source + 1)
        kind = recipe.classes(there, torch.zeros(8, dtype=torch.bool))
        assert [recipe.classes.names[k] for k in kind] == [truth.labels[int(i)] for i in batch.index]
        text = recipe.classes.named(batch.text, kind)
        spoken = words.encode(["spins then grows"])
        for row, number in enumerate(kind.tolist()):
            same = spoken if number else batch.text.select(slice(row, row + 1))
            assert torch.equal(text.tokens[row], same.tokens[0])
            assert all(torch.equal(a[row], b[0]) for a, b in zip(text.layout, same.layout, strict=True))

    def test_names_are_no_captions_to_be_written(self, store, words, batch):
        recipe = made(store, words, replace(TINY, images=1.0, labelled=0.5))
        draw = drawn(recipe, batch)
        before = recipe(batch, draw)["lm"]
        named = draw.chosen["labelled"]
        assert named.sum() == 4
        frames = draw.chosen["frame"]
        video = batch.video[torch.arange(8), frames][:, None][~named]
        text = batch.text.select(~named)
        states, tokens, valid = recipe.writer.words(text)
        said = recipe.writer(states[:, :-1], recipe.video(video).tokens)
        assert before.item() == pytest.approx(losses.lm(said, tokens[:, 1:], valid[:, 1:]).item(), rel=1e-5)

    @pytest.mark.parametrize("labels", [True, False])
    def test_negatives_are_of_another_class_and_of_the_same_kind(
        self, store, words, batch, monkeypatch, labels
    ):
        """Also where labels do not count in the contrast: a class name fits every sample of its class."""
        config, draws = replace(TINY, labelled=1.0, labels=labels), losses.hard_negatives
        recipe, never = made(store, words, config), []
        truth = replace(data.truth_of(store), labels=["spins then grows", "up then down"] * 8)
        recipe.attach([truth])
        monkeypatch.setattr(losses, "hard_negatives", lambda s, p, c: never.append(p) or draws(s, p, c))
        draw = drawn(recipe, batch)
        recipe(batch, draw)
        order, frame = draw.chosen["frame"].argsort(stable=True), draw.chosen["frame"]
        assert len(never) == 2
        for rows, positive in zip(order.split(4), never, strict=True):
            kind = recipe.classes(batch, frame >= 0)[rows]
            assert torch.equal(positive, kind[:, None] == kind)
        assert never[0].sum() > 4, "clips of one class among four of two classes"


@pytest.mark.parametrize(
    "change",
    [
        {"images": 1.5}, {"alpha": -0.1}, {"queue": -1}, {"fusion": replace(TINY.fusion, mode="concat")},
        {"text": replace(TINY.text, words=())},
    ],
)  # fmt: skip
def test_what_it_cannot_do_is_refused_in_a_sentence(change):
    with pytest.raises(UserError) as caught:
        replace(TINY, **change)
    assert "\n" not in str(caught.value)


def test_captions_are_written_from_what_is_seen(store, words, batch):
    recipe = made(store, words)
    assert [bool(text) for text in recipe.generate(batch.video[:2], ["a", "a red"])] == [True, True]
