"""DataModules: prompt groups of a source, as packs for a study and as sentences for training."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lightning import LightningDataModule
from torch.utils.data import DataLoader

from kn_lightning.data import part_of_speech
from kn_lightning.data.dealing import PackCost, PackLoader, dealt_packs, dearest_first
from kn_lightning.data.masking import ConceptMasking, MaskedPrompts
from kn_lightning.data.study import Study, make_study, merged_groups
from kn_lightning.errors import InputError, nearest
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import EncodedPrompt, PromptGroup, Skipped

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder


class MaskedSentences(LightningDataModule, ABC):
    """What ``train.py`` trains on.

    Args:
        batch_size: sentences of a training batch.
    """

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        if not 1 <= batch_size <= sys.maxsize:
            remedy = "at least 1" if batch_size < 1 else f"at most {sys.maxsize}"
            raise InputError(f"data.batch_size {batch_size}: give {remedy}")
        self.batch_size = batch_size

    @property
    def encoder(self) -> Encoder:
        """The encoder that the trainer's module wraps."""
        encoder: Encoder = self.trainer.lightning_module.encoder  # type: ignore[union-attr, assignment]
        return encoder

    @property
    def several(self) -> bool:
        """Whether answers may be of several tokens, as that module has it."""
        several: bool = self.trainer.lightning_module.several  # type: ignore[union-attr, assignment]
        return several

    @abstractmethod
    def train_dataloader(self) -> DataLoader[Any]:
        """Of which a training batch is drawn."""

    def loader(self, data: Any, collate: Any, shuffle: bool) -> DataLoader[Any]:
        """Batches of ``data``."""
        return DataLoader(data, self.batch_size, shuffle=shuffle, collate_fn=collate)


class PromptGroups(MaskedSentences):
    """Prompt groups of some source.

    Args:
        max_groups: keep the first so many concepts.
        concepts: keep these concepts only.
        tag_pos: tag with nltk where the data gives no part of speech.
        pack_tokens: tokens of the prompts that are computed and written together.
        validation_share: share of each concept's prompts that ``train.py`` keeps for validation.
        batch_size: sentences of a training batch.
    """

    def __init__(
        self,
        max_groups: int | None = None,
        concepts: list[str] | None = None,
        tag_pos: bool = True,
        pack_tokens: int = 2048,
        validation_share: float = 0.2,
        batch_size: int = 64,
    ) -> None:
        super().__init__(batch_size)
        if max_groups is not None and max_groups < 1:
            raise InputError(f"data.max_groups {max_groups}: give at least 1")
        if concepts == []:
            raise InputError("data.concepts []: give at least one concept, or leave it out")
        if pack_tokens < 1:
            raise InputError(f"data.pack_tokens {pack_tokens}: give at least 1")
        if not 0 <= validation_share < 1:
            raise InputError(
                f"data.validation_share {validation_share}: give a share from 0 to below 1"
            )
        self.max_groups = max_groups
        self.concepts = concepts
        self.tag_pos = tag_pos
        self.pack_tokens = pack_tokens
        self.validation_share = validation_share
        self.study: Study | None = None
        # A rank without a pack has nothing to do, which is no error.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.finished: frozenset[int] = frozenset()
        """Numbers of packs that a resumed run has on disk already."""
        self.stopped: Callable[[], bool] = _never
        """Whether the study is to end behind the pack in hand."""
        self.on_disk: Callable[[], frozenset[int]] = frozenset
        """Numbers of the packs that all ranks have finished by now."""
        self.take: Callable[[int], bool] | None = None
        """Whether this rank gets the pack of that number, of those that any rank may compute; None:
        packs are dealt beforehand."""
        self.cost = PackCost()
        """By which packs are shared out; what is measured on them is a callback's affair."""
        self._training: list[EncodedPrompt] = []
        self._validation: list[EncodedPrompt] = []

    @abstractmethod
    def read(self) -> Iterable[PromptGroup | Skipped]:
        """The source's groups, in its order, and what of the source is not used, with the reason.

        A source that leaves something out says so here: each record that is yielded as
        :class:`~kn_lightning.schema.Skipped` is a row of ``skipped.parquet``.
        """

    @property
    def source(self) -> str:
        """The class, and its file or folder where it has one, for messages."""
        path = getattr(self, "path", None)
        return type(self).__name__ + ("" if path is None else f" {path}")

    def origin(self) -> dict[str, Any]:
        """Where the data come from, as ``environment.json`` keeps it: address, hash, …."""
        return {}

    def selected(self) -> tuple[list[PromptGroup], list[PromptGroup], list[Skipped]]:
        """The groups that the settings keep, one a concept; those that they leave out; exclusions.

        Raises:
            InputError: a concept that was asked for isn't there, or no group is.
        """
        entries = list(self.read())
        excluded = [entry for entry in entries if isinstance(entry, Skipped)]
        everything = groups = merged_groups(e for e in entries if isinstance(e, PromptGroup))
        if self.concepts is not None:
            missing = sorted(set(self.concepts) - {group.concept for group in groups})
            if missing:
                hint = nearest(missing[0], [group.concept for group in groups])
                raise InputError(
                    f"data.concepts: {', '.join(missing)}: not among the data's concepts"
                    f"{hint}; leave it out"
                )
            groups = [group for group in groups if group.concept in set(self.concepts)]
            excluded = [skip for skip in excluded if skip.concept in set(self.concepts)]
        if not groups:
            why = _most_frequent_reason(excluded)
            raise InputError(f"{self.source}: no prompt group{why}; give a source that has one")
        groups = groups[: self.max_groups]
        kept = {group.concept for group in groups}
        beyond = [group for group in everything if group.concept not in kept]
        return groups, beyond, excluded

    @cached_property
    def _selection(self) -> tuple[list[PromptGroup], list[PromptGroup], list[Skipped]]:
        return self.selected()

    def _wants_tags(self) -> bool:
        """Whether nltk is needed; it isn't even imported where the data say it all."""
        return self.tag_pos and any(group.pos is None for group in self._selection[0])

    def prepare_data(self) -> None:
        """Once a node: fetch nltk's tagger where it is needed and missing."""
        trainer = self.trainer
        assert trainer is not None
        with suppress(InputError):  # of the data: setup finds it again, and tells all ranks
            if trainer.predicting and self._wants_tags():
                part_of_speech.fetch_tagger()

    def setup(self, stage: str) -> None:
        """Read and encode; plan the study, or split the prompts for training."""
        on_all_ranks(lambda: self._set_up(stage))

    def _set_up(self, stage: str) -> None:
        if self.study is None:
            groups, beyond, excluded = self._selection
            wants_tags = stage == "predict" and self._wants_tags()
            tagger = part_of_speech.load_tagger() if wants_tags else None
            try:
                self.study = make_study(
                    self.encoder, groups, self.pack_tokens, beyond, excluded, tagger, self.several
                )
            except InputError as error:
                raise InputError(f"{self.source}: {error}") from error
        if stage == "predict":
            return
        self._training, self._validation = [], []
        for group in self.study.groups:
            for number, prompt in enumerate(group.prompts):
                held_out = self.is_validation(prompt, number)
                (self._validation if held_out else self._training).append(prompt)

    def is_validation(self, prompt: EncodedPrompt, number: int) -> bool:
        """Whether the concept's ``number``-th prompt is kept from training."""
        return evenly_kept(number, self.validation_share)

    def train_dataloader(self) -> DataLoader[Any]:
        """Sentences with the concept, or words at random, masked."""
        return self.loader(self._training, ConceptMasking(self.encoder), shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """The prompts kept from training, the concept masked."""
        return self.loader(self._validation, MaskedPrompts(self.encoder), shuffle=False)

    def predict_dataloader(self) -> PackLoader:
        """Packs for this rank, but for finished ones; whole packs give the same on any rank."""
        assert self.study is not None
        trainer = self.trainer
        assert trainer is not None
        left = [pack for pack in self.study.packs if pack.number not in self.finished]
        if self.take is not None:
            return PackLoader(dearest_first(left, self.cost), self.stopped, self.take)
        dealt = dealt_packs(left, trainer.world_size, self.cost)
        return PackLoader(dealt[trainer.global_rank], self.stopped)


def _most_frequent_reason(excluded: list[Skipped]) -> str:
    counts = Counter(skip.reason for skip in excluded).most_common(1)
    return "".join(f"; left out most often ({count} times): {reason}" for reason, count in counts)


def _never() -> bool:
    return False


def evenly_kept(number: int, share: float) -> bool:
    """Whether the ``number``-th entry belongs to a share that is spread evenly over a list."""
    return int((number + 1) * share) > int(number * share)
