"""Attributions by name, and the settings that choose one.

Another one is a function with the same interface, put there from anywhere before it is asked for::

    from kn_lightning.core.baselines import completed
    from kn_lightning.core.registry import ATTRIBUTIONS

    def size(forward, base, settings):
        return completed(forward, base, base.activations.abs().mean(2))

    ATTRIBUTIONS["size"] = size
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kn_lightning.core.attribution import layer_attribution, neuron_attribution, path_rules
from kn_lightning.core.baselines import (
    ablation_attribution,
    activation_attribution,
    gradient_activation_attribution,
)
from kn_lightning.core.forward import Base, Forward
from kn_lightning.core.quadrature import ADAPTIVE, DEFAULT_TOLERANCE, check_rule
from kn_lightning.errors import InputError
from kn_lightning.schema import INTEGRATED_GRADIENTS, Attribution

ABLATION = "ablation"
GRADIENT_ACTIVATION = "gradient_activation"
PATHS = ("layer", "neuron")


@dataclass(frozen=True)
class AttributionSettings:
    """How attribution is computed.

    Attributes:
        rule: ``adaptive`` or a fixed quadrature rule, of ``integrated_gradients``.
        nodes: of a fixed rule.
        tolerance: of ``adaptive``: relative error of a prompt's scores, held by their completeness.
        path: ``layer`` (all neurons of a layer grow together) or ``neuron`` (exact ablation of
            candidates).
        candidates: neurons of a prompt that ``path=neuron`` ablates, and that a comparison with
            ``ablation`` does (so many of either attribution's best).
        row_tokens: rows x tokens computed together, of rows that climb all layers (those that start
            higher count by the layers above them); null fits them to the memory.
        attribution: ``integrated_gradients``, ``activation``, ``gradient_activation``,
            ``ablation``, or a name of your own in ``ATTRIBUTIONS``.
        compare: names of others, whose agreement with ``attribution`` is measured.

    Raises:
        InputError: settings that don't go together.
    """

    rule: str = ADAPTIVE
    nodes: int | None = None
    tolerance: float = DEFAULT_TOLERANCE
    path: str = "layer"
    candidates: int = 64
    row_tokens: int | None = None
    attribution: str = INTEGRATED_GRADIENTS
    compare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_rule(self.rule, self.nodes, self.tolerance)
        if self.path not in PATHS:
            raise InputError(f"unknown path {self.path!r}: choose one of {', '.join(PATHS)}")
        if self.candidates < 1:
            raise InputError(f"candidates {self.candidates}: give at least 1")
        if self.row_tokens is not None and self.row_tokens < 1:
            raise InputError(f"row_tokens {self.row_tokens}: give at least 1")
        self._check_names()
        self._check_path()

    def _check_names(self) -> None:
        names = (self.attribution, *self.compare)
        for name in names:
            if name not in ATTRIBUTIONS:
                raise InputError(
                    f"unknown attribution {name!r}: choose one of {', '.join(ATTRIBUTIONS)}"
                )
        if len(set(names)) < len(names):
            raise InputError(
                f"compare [{', '.join(self.compare)}]: name each attribution once, and not the"
                f" study's own, {self.attribution}"
            )

    def _check_path(self) -> None:
        """What is of integrated gradients alone is not asked of others."""
        if self.path != "layer" and self.attribution != INTEGRATED_GRADIENTS:
            raise InputError(
                f"path {self.path!r} is of integrated_gradients, not of {self.attribution}: leave"
                " it out (attribution 'ablation' ablates every neuron)"
            )
        if INTEGRATED_GRADIENTS in (self.attribution, *self.compare):
            return
        unused = {"rule": ADAPTIVE, "nodes": None, "tolerance": DEFAULT_TOLERANCE}
        for key, default in unused.items():
            if getattr(self, key) != default:
                raise InputError(
                    f"{key} {getattr(self, key)!r} is of integrated_gradients, not of"
                    f" {self.attribution}: leave it out"
                )

    def needs_slope(self, name: str) -> bool:
        """Whether the attribution is given the slope at the untouched encoder."""
        if name != INTEGRATED_GRADIENTS:
            return name not in ("activation", ABLATION)
        rules = path_rules(self.rule, self.nodes, self.tolerance)
        return any(1.0 in rule.nodes for rule in rules)


Attribute = Callable[[Forward[Any], Any, AttributionSettings], Attribution]
"""``f(forward, base, settings)``: the attribution of all prompts of a base pass.

The base pass has its slope (``base.end_gradient``) unless the attribution is known not to need it.
"""


def integrated_gradients(
    forward: Forward[Base], base: Base, settings: AttributionSettings
) -> Attribution:
    """Along the path of a layer, or of single neurons."""
    rules = path_rules(settings.rule, settings.nodes, settings.tolerance)
    found = layer_attribution(forward, base, rules, settings.tolerance)
    if settings.path == "neuron":
        return neuron_attribution(forward, base, found, settings.candidates)
    return found


ATTRIBUTIONS: dict[str, Attribute] = {
    INTEGRATED_GRADIENTS: integrated_gradients,
    "activation": activation_attribution,
    GRADIENT_ACTIVATION: gradient_activation_attribution,
    ABLATION: ablation_attribution,
}
"""All that a study can use, by name."""
