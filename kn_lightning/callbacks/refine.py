"""Attribution of a pack -> coarse neurons of its prompts and refined neurons of its concepts."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer

from kn_lightning.core.edits import held_out
from kn_lightning.core.neurons import CoarseNeurons, coarse_neurons, refined_neurons
from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome


class RefineCallback(Callback):
    """Coarse and refined neurons.

    Args:
        threshold: t: coarse neurons score above t times their prompt's largest score.
        share: p: refined neurons are coarse in at least this share of the concept's prompts.
        inclusive: "p % or more" (the paper); false is "more than p %" (its code).
        holdout: share of each concept's prompts that refinement leaves to evaluation; set by
            edit.holdout.
        seed: chooses those prompts; set by edit.seed.
    """

    def __init__(
        self,
        threshold: float = 0.2,
        share: float = 0.5,
        inclusive: bool = True,
        holdout: float = 0.0,
        seed: int = 0,
    ) -> None:
        # The largest score exceeds no threshold from 1 on, and from 0 down all scores would pass.
        if not 0 < threshold < 1:
            raise InputError(f"refine.threshold {threshold}: give a share between 0 and 1")
        if not 0 < share <= 1:
            raise InputError(f"refine.share {share}: give a share above 0 and up to 1")
        self.threshold = threshold
        self.share = share
        self.inclusive = inclusive
        self.holdout = holdout
        self.seed = seed

    def on_predict_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Adds ``coarse`` and ``refined`` to the outcome."""
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
            outputs.refined.append(
                refined_neurons(scores[place][used], own, self.share, self.inclusive)
            )
