"""Cells: what `configure` returns, with the options of the command line applied and its data described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workbench import data as datasets
from workbench import naming, tasks
from workbench.config import DataConfig, Mixed, RunConfig
from workbench.errors import UserError
from workbench.study.cells import settings
from workbench.study.cells.options import Options
from workbench.study.spec import Choice, Study
from workbench.study.stages import fitted, with_budget


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration, without a seed."""

    key: str
    label: str
    """Label in words, see `workbench.naming`."""
    axes: dict[str, Choice]
    config: RunConfig
    twins: tuple[dict[str, Choice], ...] = ()
    """Other choices that lead to the same configuration."""
    notes: tuple[str, ...] = ()
    """Decisions made for the user, see `workbench.study.stages.fitted`."""


class Builder:
    """Turns what `configure` returns into cells: options applied, data described, once for each data set."""

    def __init__(self, study: Study, options: Options, root: Path) -> None:
        self.study = study
        self.options = options
        self.root = root
        self._described: dict[DataConfig, datasets.Described] = {}
        self._settings = settings.parse(options.settings)
        self._own: dict[str, list[Any]] = {name: [] for name in self._settings}
        self._now: dict[str, Any] = {}

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Setting -> (the study's own value, the value now), of the cells so far.

        Raises `UserError` for one that the study varies: its cells would become one another, under labels
        that are no longer true.
        """
        for name, own in self._own.items():
            if len(own) > 1:
                some = ", ".join(map(str, own[:4])) + (", ..." if len(own) > 4 else "")
                raise UserError(
                    f"study {self.study.name} varies {name} itself ({some}); --set is for what all its cells "
                    "have in common"
                )
        return {name: (own[0], self._now[name]) for name, own in self._own.items() if own}

    def cell(self, axes: dict[str, Choice], config: RunConfig) -> Cell:
        """A batch larger than the training split is made as large as the split."""
        config = self._set(_apply(config, self.study, self.options), axes)
        config, notes = fitted(config, self._describe)
        known = {data: self._describe(data) for data in config.all_data}
        self._check_metric(config)
        self._check_tasks(config, known)
        # A stage on fewer clips makes its own batches smaller; it does not shrink those of the others.
        clips = max(known[data].train_clips for data in config.training_data)
        config = replace(
            config,
            data=known[config.data].data,
            stages=tuple(
                replace(
                    stage,
                    data=known[stage.data].data if stage.data is not None else None,
                    mix=tuple(replace(one, data=known[one.data].data) for one in stage.mix),
                )
                for stage in config.stages
            ),
            evaluate_on=tuple(known[data].data for data in config.evaluate_on),
            optim=replace(config.optim, batch_size=max(2, min(config.optim.batch_size, clips))),
            seed=0,
        )
        key = config.key()
        label = naming.cell(axes, self.study.says) or key
        return Cell(key=key, label=label, axes=axes, config=config, notes=notes)

    def _set(self, config: RunConfig, axes: Mapping[str, Choice]) -> RunConfig:
        """The configuration under `--set`; notes what it was and what it is."""
        if not self._settings:
            return config
        try:
            found = settings.changed(config, self._settings)
        except UserError as error:
            raise UserError(f"--set in cell {naming.cell(axes, {}) or '(no axes)'}: {error}") from error
        for name, value in settings.values(config, list(self._settings)).items():
            if value not in self._own[name]:
                self._own[name].append(value)
        self._now = settings.values(found, list(self._settings))
        return found

    def _check_metric(self, config: RunConfig) -> None:
        """Refuses a run that would not measure what the study asks for."""
        other, _, name = self.study.metric.rpartition(":")
        task = tasks.task_of(name)
        if task not in config.tasks:
            raise UserError(
                f"study {self.study.name} asks for {name}, which the task {task} measures, but its runs have "
                f"tasks={config.tasks!r}"
            )
        known = [data.name for data in config.evaluate_on]
        if other and other not in known:
            raise UserError(
                f"study {self.study.name} asks for {self.study.metric}, but its runs are evaluated on "
                f"{', '.join(known) or 'no other data'}: evaluate_on must name {other}"
            )

    def _check_tasks(self, config: RunConfig, known: Mapping[DataConfig, datasets.Described]) -> None:
        """Refuses a task that none of the data can be asked, and the study's metric on data that cannot."""
        evaluated = {data.name: known[data].known for data in (config.data, *config.evaluate_on)}
        other, _, name = self.study.metric.rpartition(":")
        where = other or config.data.name
        refusal = tasks.unknown(config.tasks, evaluated)
        refusal = refusal or tasks.unknown([tasks.task_of(name)], {where: evaluated[where]})
        if refusal:
            raise UserError(f"study {self.study.name}: {refusal}")

    def _describe(self, data: DataConfig) -> datasets.Described:
        if data not in self._described:
            source = self.options.source(data.name)
            self._described[data] = datasets.describe(data, source, root=self.root)
        return self._described[data]


def _apply(config: RunConfig, study: Study, options: Options) -> RunConfig:
    if options.smoke:
        config = study.smoke(config)
    if options.budget:
        config = replace(config, stages=with_budget(config.stages, options.budget))
    if options.data or options.pretrain_data:
        config = _on(config, study, options)
    if options.data:
        config = _as_read(config)
    return _mixed(config, options) if options.mix else config


def _as_read(config: RunConfig) -> RunConfig:
    """The run as its own data wish to be read (`datasets.read_at`): frames and pixels, patches that cover the
    same share of the picture as before, and captions that are not cut."""
    wished = datasets.read_at(config.data.name)
    if not wished:
        return config
    before, recipe = config.data.size, config.recipe
    data = replace(config.data, frames=wished["frames"], size=wished["size"])
    if hasattr(recipe, "video"):
        patch = recipe.video.patch * data.size // before
        recipe = replace(recipe, video=replace(recipe.video, patch=patch))
    if hasattr(recipe, "text"):
        most = max(recipe.text.max_tokens, wished["max_tokens"])
        recipe = replace(recipe, text=replace(recipe.text, max_tokens=most))
    return replace(config, data=data, recipe=recipe)


def _on(config: RunConfig, study: Study, options: Options) -> RunConfig:
    """The same run on the data of `--data`, and before that on those of `--pretrain-data`."""
    names = {config.data.name: datasets.named_place(options.data)[0]} if options.data else {}
    if options.pretrain_data:
        others = {data.name for data in config.all_data} - {config.data.name}
        if len(others) != 1 or (others & {data.name for data in config.evaluate_on}) != others:
            raise UserError(
                f"study {study.name} does not train on other data first; --pretrain-data is for a study "
                "whose runs do, and are evaluated on both, such as transfer"
            )
        names[others.pop()] = datasets.named_place(options.pretrain_data)[0]
        own = names.get(config.data.name, config.data.name)
        if list(names.values()).count(own) > 1 or (len(names) == 1 and own in names.values()):
            raise UserError(
                f"--pretrain-data and --data must name two data sets, by which their metrics are told apart, "
                f"not {own!r} twice"
            )

    def renamed(data: DataConfig) -> DataConfig:
        return replace(data, name=names[data.name], digest="") if data.name in names else data

    return config.with_data(renamed)


def _mixed(config: RunConfig, options: Options) -> RunConfig:
    """The same run, which reads the data of `--mix` by turns with its own and is evaluated on them too."""
    some = [
        Mixed(data=replace(config.data, name=datasets.named_place(one)[0], digest=""), share=share)
        for one, share in options.mix
    ]
    stages = [
        replace(stage, mix=(*stage.mix, *some)) if stage.data in (None, config.data) else stage
        for stage in config.stages
    ]
    if not any(stage.data in (None, config.data) for stage in config.stages):
        raise UserError(f"--mix alternates with {config.data.name}, on which no stage of this study trains")
    tested = {one.name: one for one in config.evaluate_on}
    for one in some:
        tested.setdefault(one.data.name, replace(one.data, text="captions", crop=1.0, flip=0.0, jitter=0.0))
    return replace(config, stages=tuple(stages), evaluate_on=tuple(tested.values()))
