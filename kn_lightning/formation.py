"""An encoder at one step of its training -> what a formation study keeps of it.

The study itself is the package's own: attribution, coarse neurons, refined neurons, probability; of
the same prompt groups at every step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from kn_lightning.attribution import attribute_encoded
from kn_lightning.budget import RowBudget
from kn_lightning.core.neurons import coarse_neurons, refined_neurons
from kn_lightning.core.registry import AttributionSettings
from kn_lightning.data import part_of_speech
from kn_lightning.data.study import Study, make_study, planned_packs
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution, EncodedGroup, EncodedPrompt, PromptGroup, Skipped

if TYPE_CHECKING:
    import pandas as pd

_PACK_TOKENS = 2048
_MODEL_KEYS = ("rule", "nodes", "tolerance", "path", "candidates", "attribution")


@dataclass(frozen=True)
class FormationSettings:
    """Which concepts are followed, and what their neurons are.

    Attributes:
        max_groups: follow so many concepts, evenly spread over the data; null: all.
        threshold: t: coarse neurons score above t times their prompt's largest score.
        share: p: a concept's neurons are coarse in at least this share of its prompts.
        inclusive: "p % or more"; false is "more than p %".

    Raises:
        InputError: numbers that make no sense.
    """

    max_groups: int | None = None
    threshold: float = 0.2
    share: float = 0.5
    inclusive: bool = True

    def __post_init__(self) -> None:
        if self.max_groups is not None and self.max_groups < 1:
            raise InputError(f"formation.max_groups {self.max_groups}: give at least 1")
        if not 0 < self.threshold < 1:
            raise InputError(f"formation.threshold {self.threshold}: give a share between 0 and 1")
        if not 0 < self.share <= 1:
            raise InputError(f"formation.share {self.share}: give a share above 0 and up to 1")

    def chosen(self, groups: Sequence[EncodedGroup]) -> list[EncodedGroup]:
        """The groups that are followed."""
        n = min(len(groups), self.max_groups or len(groups))
        return [groups[i * len(groups) // n] for i in range(n)]


class Step(NamedTuple):
    """Where a measurement stands: the training step, and the checkpoint's name if it is one."""

    number: int
    checkpoint: str | None = None


def encoded_study(
    encoder: Encoder,
    groups: Sequence[PromptGroup],
    excluded: Sequence[Skipped],
    tag_pos: bool,
    several: bool,
) -> Study:
    """Groups as the encoder reads them, with their parts of speech, and what is left out.

    Raises:
        InputError: none can be asked about.
    """
    tagger = None
    if tag_pos and any(group.pos is None for group in groups):
        part_of_speech.fetch_tagger()
        tagger = part_of_speech.load_tagger()
    return make_study(encoder, groups, _PACK_TOKENS, (), excluded, tagger, several)


def identity(
    encoder: Encoder,
    groups: Sequence[EncodedGroup],
    settings: FormationSettings,
    attribution: AttributionSettings,
) -> dict[str, Any]:
    """What two steps must share to be compared, flat."""
    prompts = [[(p.input_ids, p.answers) for p in group.prompts] for group in groups]
    content = repr([(g.concept, g.pos, own) for g, own in zip(groups, prompts, strict=True)])
    formation = {f"formation.{key}": value for key, value in asdict(settings).items()}
    return {
        **{f"model.{key}": getattr(attribution, key) for key in _MODEL_KEYS},
        **formation,
        "encoder.n_layers": encoder.structure.n_layers,
        "encoder.n_neurons": encoder.structure.n_neurons,
        "prompts.concepts": len(groups),
        "prompts.sha256": hashlib.sha256(content.encode()).hexdigest(),
    }


def made_with(encoder: Encoder, source: str) -> dict[str, Any]:
    """What else ``formation.json`` says: where steps come from, versions."""
    return {
        "source": source,
        "model_type": encoder.model.config.model_type,
        "versions": {name: version(name) for name in ("kn_lightning", "torch", "transformers")},
    }


def measured(
    encoder: Encoder,
    groups: Sequence[EncodedGroup],
    settings: FormationSettings,
    attribution: AttributionSettings,
    budget: RowBudget,
    step: Step,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Probability and knowledge neurons of every concept at one step.

    Args:
        encoder: in eval mode.
        groups: of the concepts.
        settings: what neurons are.
        attribution: how scores are computed.
        budget: kept between calls.
        step: where in the training.

    Returns:
        Rows for :meth:`~kn_lightning.formation_record.FormationRecord.add`.

    Raises:
        InputError: scores are NaN or infinite.
    """
    import pandas as pd

    concepts: list[dict[str, Any]] = []
    neurons: list[pd.DataFrame] = []
    for pack in planned_packs(groups, _PACK_TOKENS):
        prompts = [prompt for group in pack.groups for prompt in group.prompts]
        found = attribute_encoded(encoder, prompts, attribution, budget)
        _check_finite(found, prompts, step)
        start = 0
        for group in pack.groups:
            place = slice(start, start + len(group.prompts))
            start = place.stop
            # Neurons are coarse by their own prompt alone, so a group's are those of the pack.
            scores = found.scores[place]
            coarse = coarse_neurons(scores, settings.threshold)
            own = refined_neurons(scores, coarse, settings.share, settings.inclusive)
            rank = found.rank[place].double()
            concepts.append(
                {
                    "concept": group.concept,
                    "pos": group.pos,
                    "step": step.number,
                    "checkpoint": step.checkpoint,
                    "n_prompts": len(group.prompts),
                    "probability": found.probability[place].double().mean().item(),
                    "rank": rank.mean().item(),
                    "first": (rank == 1).double().mean().item(),
                    "n_neurons": len(own.neuron),
                }
            )
            columns = {name: part.numpy() for name, part in own._asdict().items()}
            neurons.append(pd.DataFrame({"step": step.number, "concept": group.concept, **columns}))
    return pd.DataFrame(concepts), pd.concat(neurons, ignore_index=True)


def _check_finite(found: Attribution, prompts: Sequence[EncodedPrompt], step: Step) -> None:
    bad = (~found.scores.flatten(1).sum(1).isfinite()).nonzero()
    if len(bad):
        where = step.checkpoint or f"step {step.number}"
        raise InputError(
            f"{where}: the attribution of {prompts[int(bad[0])].text!r:.60} is NaN or infinite: the"
            " training has diverged there; lower model.learning_rate, or leave that step out"
        )


def metrics(rows: pd.DataFrame, neurons: pd.DataFrame, n_layers: int) -> dict[str, float]:
    """Means over the concepts of a step, by part of speech and by layer, for the loggers.

    Args:
        rows: of the concepts at that step; what is undefined there is left out.
        neurons: their knowledge neurons.
        n_layers: of the encoder.
    """
    names = ["probability", "rank", "first", "n_neurons", "jaccard_with_previous"]
    means = {f"formation/{name}": float(rows[name].mean()) for name in names}
    for part, own in rows.groupby("pos"):
        means |= {f"formation/{part}/{name}": float(own[name].mean()) for name in names}
    counts = neurons["layer"].value_counts()
    for layer in range(n_layers):
        means[f"formation/layer_{layer}/n_neurons"] = float(counts.get(layer, 0)) / len(rows)
    return {name: value for name, value in means.items() if value == value}
