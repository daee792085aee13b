"""Attribution of a pack -> coarse neurons of its prompts, refined neurons of its concepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from kn_lightning.core.edits import held_out
from kn_lightning.core.neurons import (
    CoarseNeurons,
    RefinedNeurons,
    coarse_neurons,
    given_neurons,
    refined_neurons,
    sized_neurons,
)
from kn_lightning.core.similarity import group_similarity
from kn_lightning.errors import InputError
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.neuron_json import check_neurons, read_neurons
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks

MOST_VALUES = 100
"""Tokens at either end: the best prompts of all neurons are kept along with them."""


class RefineCallback(Callback):
    """Coarse and refined neurons.

    Args:
        threshold: t: coarse neurons score above t times their prompt's largest score.
        share: p: refined neurons are coarse in at least this share of the concept's prompts.
        inclusive: "p % or more" (the paper); false is "more than p %" (its code).
        size: fewest and most refined neurons of a concept: p is moved by 0.05, up to five times,
            until they are as many (after Dai et al., who begin with p 0.7 and want [2, 5]).
        neurons: JSON of neurons that are edited instead of refined ones: ``{"kitten": [[10, 188],
            …], …}``, layer and neuron; every concept of the study needs a list.
        facts: where the keys of that file are uuids, as EleutherAI's pararel_evaluate.py writes
            them: its pararel_expanded.json, which says what their answers are.
        holdout: share of each concept's prompts that refinement leaves to evaluation; set by
            edit.holdout.
        seed: chooses those prompts; set by edit.seed.
        values: also say what each neuron's value vector promotes through the model's own head (key
            and value, Geva et al. 2021), beside random neurons: so many tokens at either end, and
            so many prompts that activate it most.
    """

    def __init__(
        self,
        threshold: float = 0.2,
        share: float = 0.5,
        inclusive: bool = True,
        size: tuple[int, int] | None = None,
        neurons: Path | None = None,
        facts: Path | None = None,
        holdout: float = 0.0,
        seed: int = 0,
        values: int | None = None,
    ) -> None:
        # The largest score exceeds no threshold from 1 on, and from 0 down all scores would pass.
        if not 0 < threshold < 1:
            raise InputError(f"refine.threshold {threshold}: give a share between 0 and 1")
        if not 0 < share <= 1:
            raise InputError(f"refine.share {share}: give a share above 0 and up to 1")
        if size is not None and not 1 <= size[0] <= size[1]:
            raise InputError(
                f"refine.size {list(size)}: give the fewest and the most neurons, such as [2, 5]"
            )
        if size is not None and neurons is not None:
            raise InputError(f"refine.size {list(size)}: refine.neurons gives them; leave out one")
        if facts is not None and neurons is None:
            raise InputError(f"refine.facts {facts}: it needs refine.neurons, a file by its uuids")
        if values is not None and not 1 <= values <= MOST_VALUES:
            raise InputError(f"refine.values {values}: give 1 to {MOST_VALUES} tokens, such as 10")
        self.threshold = threshold
        self.share = share
        self.inclusive = inclusive
        self.size = size
        self.given = None if neurons is None else read_neurons(neurons, facts)
        self.holdout = holdout
        self.seed = seed

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Checks given neurons against concepts and encoder, before anything is written."""
        given = self.given
        if given is None or stage != "predict":
            return
        assert isinstance(pl_module, MaskedLanguageModel)
        study = trainer.datamodule.study  # type: ignore[attr-defined]
        structure = pl_module.encoder.structure
        concepts = [group.concept for group in study.groups]
        sizes = structure.n_layers, structure.n_neurons
        on_all_ranks(lambda: check_neurons(given, concepts, *sizes))

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``coarse``, ``refined`` and ``similarity`` to the outcome."""
        assert isinstance(outputs, Outcome)
        scores = outputs.attribution.scores
        outputs.coarse = coarse = coarse_neurons(scores, self.threshold)
        outputs.refined = []
        for group, place in outputs.groups():
            used = ~held_out(group.concept, len(group.prompts), self.holdout, self.seed)
            # Prompts of this group, renumbered from 0 without those held out.
            inside = (coarse.prompt >= place.start) & (coarse.prompt < place.stop)
            inside[inside.clone()] = used[coarse.prompt[inside] - place.start]
            own = CoarseNeurons(*(part[inside] for part in coarse))
            outputs.refined.append(self._refined(group.concept, scores[place][used], own))
        sizes = [len(group.prompts) for group in outputs.pack.groups]
        outputs.similarity = group_similarity(scores, sizes)

    def _refined(self, concept: str, scores: Tensor, coarse: CoarseNeurons) -> RefinedNeurons:
        """The concept's neurons; ``[B, L, I]`` scores of its prompts."""
        if self.given is not None:
            return given_neurons(scores, coarse, self.given[concept])
        if self.size is not None:
            return sized_neurons(scores, coarse, self.share, self.inclusive, self.size)
        return refined_neurons(scores, coarse, self.share, self.inclusive)
