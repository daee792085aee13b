"""The LightningModule: a masked LM that predicts attributions and trains as a masked LM."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.text import Perplexity
from transformers import get_linear_schedule_with_warmup

from kn_lightning.attribution import attribute_encoded, compare_encoded, row_budget
from kn_lightning.budget import RowBudget
from kn_lightning.core.quadrature import ADAPTIVE, DEFAULT_TOLERANCE
from kn_lightning.core.registry import AttributionSettings
from kn_lightning.data.encoding import SINGLE, takes_several
from kn_lightning.data.masking import IGNORED, MaskedBatch
from kn_lightning.data.study import Pack
from kn_lightning.encoders.loading import EMBEDDED, load_encoder
from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome
from kn_lightning.ranks import on_all_ranks
from kn_lightning.schema import INTEGRATED_GRADIENTS, Attribution, EncodedPrompt


class MaskedLanguageModel(LightningModule):
    """A masked LM of transformers; ``predict`` attributes, ``fit`` trains.

    Args:
        encoder: Hub id, local folder, ``embedded`` (the small BERT of this package), or
            ``scratch`` (its architecture with random weights, for ``train.py``).
        rule: quadrature of the path integral: ``adaptive``, ``gauss_legendre``, ``gauss_lobatto``,
            ``riemann_left``, ``riemann_right`` (the paper's formula), ``riemann_midpoint``,
            ``trapezoid``, ``linspace`` (the PyPI package's).
        nodes: of a fixed rule, 20 unless told.
        tolerance: of ``adaptive``: relative error of a prompt's scores; nodes are added while the
            residual of completeness exceeds half of it, as a share of the prompt's largest total.
        path: ``layer`` scales all neurons of a layer together; ``neuron`` ablates each prompt's
            best neurons one by one, exactly.
        candidates: how many neurons of a prompt ``path=neuron`` ablates; a comparison with
            ``ablation`` ablates so many of either attribution's best.
        row_tokens: rows x tokens computed together, of rows that climb all layers; fitted to the
            memory unless told.
        answers: ``single``: what is no single token of the vocabulary is left out; ``multi``: an
            answer of several tokens gets a mask for each, and its probability is their product.
        attribution: ``integrated_gradients``, ``activation``, ``gradient_activation`` (activation
            times the slope of P) or ``ablation`` (the exact effect of every single neuron).
        compare: other attributions; how far they agree with it is in ``agreement.parquet``.
        learning_rate: of AdamW, at its peak.
        weight_decay: of AdamW.
        warmup_steps: steps of linear warm-up; the rate then falls linearly to 0 at the last step.
    """

    def __init__(
        self,
        encoder: str = EMBEDDED,
        rule: str = ADAPTIVE,
        nodes: int | None = None,
        tolerance: float = DEFAULT_TOLERANCE,
        path: str = "layer",
        candidates: int = 64,
        row_tokens: int | None = None,
        answers: str = SINGLE,
        attribution: str = INTEGRATED_GRADIENTS,
        compare: tuple[str, ...] = (),
        learning_rate: float = 5e-5,
        weight_decay: float = 0.01,
        warmup_steps: int = 0,
    ) -> None:
        super().__init__()
        try:
            self.settings = AttributionSettings(
                rule, nodes, tolerance, path, candidates, row_tokens, attribution, tuple(compare)
            )
        except InputError as error:
            raise InputError(f"model: {error}") from error
        self.several = takes_several(answers)
        if not (0 < learning_rate < float("inf")):
            raise InputError(f"model.learning_rate {learning_rate}: give a positive number")
        if not (0 <= weight_decay < float("inf")):
            raise InputError(f"model.weight_decay {weight_decay}: give 0 or more")
        if warmup_steps < 0:
            raise InputError(f"model.warmup_steps {warmup_steps}: give 0 or more")
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.encoder = load_encoder(encoder)
        self.model = self.encoder.model
        vocabulary = self.model.config.get_text_config().vocab_size
        # Over the asked positions alone, so that a batch's other tokens cost nothing.
        self.validation = MetricCollection(
            {
                "perplexity": Perplexity(),
                "accuracy": MulticlassAccuracy(vocabulary, average="micro", validate_args=False),
            },
            prefix="val_",
            compute_groups=False,
        )
        self.validation_loss = MeanMetric(nan_strategy="disable")

    @cached_property
    def budget(self) -> RowBudget:
        """What is computed together, on the device where the encoder is when first asked."""
        return row_budget(self.settings, self.encoder)

    def setup(self, stage: str) -> None:
        """Parameters ask for gradients, and dropout is on, in training alone."""
        self.model.requires_grad_(stage == "fit")
        self.model.train(stage == "fit")

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Packs hold no tensors; the encoder puts their prompts on its device as it pads them."""
        if isinstance(batch, Pack):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def predict_step(self, batch: Pack, batch_idx: int) -> Outcome:
        """Attribution of all prompts of a pack, under the trainer's precision."""
        start = time.perf_counter()
        prompts = [prompt for group in batch.groups for prompt in group.prompts]
        attribution = attribute_encoded(self.encoder, prompts, self.settings, self.budget)
        _check_finite(attribution, prompts, str(self.trainer.precision))
        outcome = Outcome(batch, attribution, seconds={"attribution": time.perf_counter() - start})
        if self.settings.compare:
            start = time.perf_counter()
            outcome.compared = compare_encoded(
                self.encoder, prompts, attribution.scores, self.settings, self.budget
            )
            outcome.seconds["comparison"] = time.perf_counter() - start
        return outcome

    def _asked(self, batch: MaskedBatch) -> tuple[Tensor, Tensor]:
        """Logits ``[N, V]`` and labels ``[N]`` where a label is asked for."""
        logits = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        asked = batch["labels"] != IGNORED
        return logits[asked].float(), batch["labels"][asked]

    def training_step(self, batch: MaskedBatch, batch_idx: int) -> Tensor:
        """Masked-LM loss, cross entropy in nats."""
        loss = cross_entropy(*self._asked(batch))
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: MaskedBatch, batch_idx: int) -> None:
        """Loss, perplexity and accuracy at the masks."""
        logits, labels = self._asked(batch)
        if not len(labels):
            return
        self.validation_loss.update(cross_entropy(logits, labels, reduction="none"))
        self.validation["accuracy"].update(logits, labels)
        self.validation["perplexity"].update(logits[None], labels[None])
        self.log("val_loss", self.validation_loss, prog_bar=True)
        self.log_dict(dict(self.validation.items()), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW, linear warm-up and decay; no weight decay on biases and norms."""
        plain = [p for p in self.model.parameters() if p.requires_grad and p.ndim < 2]
        decayed = [p for p in self.model.parameters() if p.requires_grad and p.ndim >= 2]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=self.learning_rate,
        )
        steps = on_all_ranks(self._training_steps)
        schedule = get_linear_schedule_with_warmup(optimizer, self.warmup_steps, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _training_steps(self) -> int:
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise InputError(
                f"trainer.max_steps {self.trainer.max_steps}, trainer.max_epochs"
                f" {self.trainer.max_epochs}: the learning rate has no last step to fall to; give"
                " either a number, beside --trainer.max_time too"
            )
        return int(steps)


def _check_finite(
    attribution: Attribution, prompts: Sequence[EncodedPrompt], precision: str
) -> None:
    """Raise InputError for the first prompt whose scores don't all have a value."""
    # NaN in any score is NaN in its layer's residual.
    sums = attribution.residual.sum(1) + attribution.probability
    bad = (~sums.isfinite()).nonzero()
    if len(bad):
        prompt = prompts[int(bad[0])]
        raise InputError(
            f"prompt {prompt.prompt_id} {prompt.text!r:.60}: its attribution is NaN or infinite"
            f" under trainer.precision {precision}; use bf16-mixed or 32-true"
        )
