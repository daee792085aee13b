"""Checkpoints of one training -> the record of their formation, as training itself would write it.

A checkpoint is whatever ``--model.encoder`` takes; of the Hub also ``name@revision``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.loggers import Logger
from transformers import AutoConfig

from kn_lightning.attribution import row_budget
from kn_lightning.checkpoint_steps import FLAG, steps_of
from kn_lightning.config_files import read_configs
from kn_lightning.core.registry import AttributionSettings
from kn_lightning.data import sources as sources  # --data finds its classes by name
from kn_lightning.data.encoding import SINGLE, takes_several
from kn_lightning.data.modules import PromptGroups
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder, located, quiet, reason
from kn_lightning.errors import InputError
from kn_lightning.formation import (
    FormationSettings,
    Step,
    encoded_study,
    identity,
    made_with,
    measured,
)
from kn_lightning.formation_record import FormationRecord
from kn_lightning.formation_tracking import FormationTracking, shown, trainer_of
from kn_lightning.identity import differing
from kn_lightning.parsing import parsed, subcommand
from kn_lightning.schema import EncodedGroup, Skipped

_ALIKE = ("model_type", "num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")


def formation_parser() -> ArgumentParser:
    """The flags of ``analyze.py formation``."""
    parser = subcommand(
        "formation", "When probability rises and neurons appear, over checkpoints of one training."
    )
    parser.add_argument("--config", action="config", help="YAML with flags; later ones win")
    parser.add_argument(
        "folder",
        help="the record and its report, or their address; the same study goes on there, with"
        " further checkpoints too",
    )
    parser.add_argument(
        FLAG,
        nargs="+",
        required=True,
        help="in the order of the training: folders, Hub ids, name@revision",
    )
    parser.add_argument(
        "--steps",
        nargs="+",
        type=int,
        help="of the training, one for each; else the last number of each name"
        " (20k is 20000, 1.5M 1500000; a commit's hash is none), else 0, 1, 2, …",
    )
    parser.add_subclass_arguments(PromptGroups, "data", help="whose concepts are followed")
    parser.set_defaults({"data": {"class_path": "kn_lightning.data.sources.EmbeddedPrompts"}})
    parser.add_class_arguments(AttributionSettings, "model", skip={"compare"}, instantiate=False)
    parser.add_argument(
        "--model.answers", default=SINGLE, help="single, or multi: of several tokens"
    )
    parser.add_class_arguments(FormationSettings, "formation")
    parser.add_argument(
        "--trainer.accelerator",
        default="auto",
        help="cpu, gpu, …; auto takes what is there. One device is used",
    )
    parser.add_argument(
        "--trainer.logger",
        type=Logger | Iterable[Logger] | bool | None,
        default=False,
        help="where the study is tracked: a class such as WandbLogger, several, or true for"
        " Lightning's default; curves are over the training's steps",
    )
    return parser


@contextmanager
def written_checkpoints(
    arguments: Sequence[str],
) -> Iterator[tuple[FormationRecord, list[Logger]]]:
    """Measure what the arguments name, and go on where that was done before.

    Yields:
        The record, which no other command can take within the block, and the loggers that have
        followed it.

    Raises:
        InputError: flags that make no sense, checkpoints that can't be compared, or a folder that
            holds another study.
    """
    parser = formation_parser()
    config = parsed(parser, arguments, {"data": PromptGroups}, read_configs(arguments))
    given = parser.instantiate_classes(config)
    model = {key: value for key, value in vars(given.model).items() if key != "answers"}
    record = FormationRecord(given.folder, "formation")
    settings = shown(yaml.safe_load(parser.dump(config, skip_link_targets=False)), record)
    trainer = trainer_of(given.trainer.logger, given.trainer.accelerator)
    study = _Study(
        FormationTracking(trainer.loggers, record, settings),
        trainer.strategy.root_device,
        record,
        given.data,
        given.formation,
        AttributionSettings(**model),
        takes_several(given.model.answers),
    )
    try:
        study.run(steps_of(given.encoders, given.steps))
        yield record, study.tracking.loggers
    finally:
        record.release()


class _Study:
    """What is asked of every checkpoint, and where it is written."""

    def __init__(
        self,
        tracking: FormationTracking,
        device: torch.device,
        record: FormationRecord,
        data: PromptGroups,
        settings: FormationSettings,
        attribution: AttributionSettings,
        several: bool,
    ) -> None:
        self.tracking = tracking
        self.device = device
        self.record = record
        self.data = data
        self.settings = settings
        self.attribution = attribution
        self.several = several
        self._identity: dict[str, Any] | None = None

    def run(self, steps: Sequence[Step]) -> None:
        """One checkpoint after another; those that are on disk already are passed over."""
        check_alike([str(step.checkpoint) for step in steps])
        groups, _, excluded = self.data.selected()
        done: dict[int, str | None] = {}
        for step in steps:
            if done.get(step.number) == step.checkpoint:
                continue
            encoder = _loaded(str(step.checkpoint))
            encoder.model.to(self.device)  # type: ignore[arg-type]
            encoded = encoded_study(encoder, groups, excluded, self.data.tag_pos, self.several)
            chosen = self.settings.chosen(encoded.groups)
            done = self._agreed(encoder, chosen, encoded.skipped, step, steps)
            if step.number in done:
                continue
            start = time.perf_counter()
            budget = row_budget(self.attribution, encoder)
            tables = measured(encoder, chosen, self.settings, self.attribution, budget, step)
            rows = self.record.add(*tables)
            seconds = {"formation/seconds": time.perf_counter() - start}
            self.tracking.log(rows[rows["step"] == step.number], tables[1], seconds)

    def _agreed(
        self,
        encoder: Encoder,
        groups: list[EncodedGroup],
        skipped: Sequence[Skipped],
        step: Step,
        steps: Sequence[Step],
    ) -> dict[int, str | None]:
        """What is on disk already, of this very study; the folder is opened at the first."""
        own = identity(encoder, groups, self.settings, self.attribution)
        if self._identity is None:
            self.record.check(own, go_on=True)
            self.record.claim(own, go_on=True)
            there = self.record.checkpoints()
            other = [s for s in steps if there.get(s.number, s.checkpoint) != s.checkpoint]
            if other:
                raise InputError(
                    f"formation {self.record.name}: step {other[0].number} there is of"
                    f" {there[other[0].number] or 'a training'}, not of {other[0].checkpoint}; give"
                    " a new folder"
                )
            origin = made_with(encoder, "checkpoints")
            self.tracking.open()
            if not there:
                self.record.begin(own, origin, skipped)
            self.tracking.begin(origin, encoder.structure.n_layers)
            self._identity = own
        if found := differing(self._identity, own):
            raise InputError(
                f"{FLAG} {step.checkpoint}: it differs from those before in"
                f" {', '.join(found)}; give checkpoints of one training, with its tokenizer"
            )
        return self.record.checkpoints()


def check_alike(names: Sequence[str]) -> None:
    """Raise InputError unless all are there and of one shape, by their configs alone."""
    shapes = [_shape(name) for name in names]
    for name, shape in zip(names, shapes, strict=True):
        for key, value in shape.items():
            if value != shapes[0][key]:
                raise InputError(
                    f"{FLAG} {name}: its {key} is {value}, that of {names[0]} is"
                    f" {shapes[0][key]}; give checkpoints of one training"
                )


def _shape(name: str) -> dict[str, Any]:
    place, revision = located(name, FLAG)
    if place.endswith(".ckpt"):
        raise InputError(
            f"{FLAG} {name}: a checkpoint of Lightning is pickled, so it is never read; give"
            " folders that save_pretrained has written, or let `train.py --formation.every N`"
            " measure while it trains"
        )
    try:
        with quiet():
            config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=False)
    except Exception as error:  # what a broken folder raises is transformers' business
        raise InputError(
            f"{FLAG} {name}: no checkpoint there ({reason(error)}); give a folder that"
            " save_pretrained has written, or a Hub id, with @revision where it has several"
        ) from error
    text = config.get_text_config()
    return {key: getattr(text, key, None) for key in _ALIKE}


def _loaded(name: str) -> Encoder:
    try:
        return load_encoder(name)
    except InputError as error:
        said = str(error).removeprefix(f"model.encoder {name}: ").removeprefix(f"{name}: ")
        raise InputError(f"{FLAG} {name}: {said}") from error
