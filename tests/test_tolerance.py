"""The tolerance means what it says, on trained encoders: true errors, against 32 nodes in float64.

Random encoders would say little: their integrands are smooth, or their answers all unlikely.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from kn_lightning import load_encoder
from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.core.quadrature import DEFAULT_TOLERANCE, LOOSE
from kn_lightning.data.encoding import encode_group
from kn_lightning.data.facts import embedded_groups
from kn_lightning.data.sources import LamaPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import Attribution, EncodedPrompt, PromptGroup, Skipped

pytestmark = pytest.mark.slow

THRESHOLD = 0.2
BORDER = 1e-5


class Measured(NamedTuple):
    """An encoder's prompts and their attribution with 64 nodes."""

    encoder: Encoder
    prompts: list[EncodedPrompt]
    truth: Attribution


def spread(
    encoder: Encoder, groups: Iterable[PromptGroup | Skipped], number: int
) -> list[EncodedPrompt]:
    """So many of the groups' prompts, evenly over all of them."""
    kept = (group for group in groups if isinstance(group, PromptGroup))
    encoded = (encode_group(encoder, group)[0] for group in kept)
    prompts = [prompt for group in encoded if group is not None for prompt in group.prompts]
    assert len(prompts) > number
    return [prompts[i * len(prompts) // number] for i in range(number)]


def measured(encoder: Encoder, prompts: list[EncodedPrompt]) -> Measured:
    # Float32 rounds the smallest totals here by 5e-5 of them, more on one processor than another.
    encoder.model.double()
    truth = attribute_encoded(encoder, prompts, AttributionSettings("gauss_legendre", 32))
    encoder.model.float()
    scale = truth.total.abs().amax(1, keepdim=True)
    # No truth otherwise: a millionth of the tightest tolerance here.
    assert (truth.residual.abs() <= 1e-9 * scale).all()
    return Measured(encoder, prompts, truth)


@pytest.fixture(scope="module")
def embedded() -> Measured:
    encoder = load_encoder("embedded")
    return measured(encoder, spread(encoder, embedded_groups(), 120))


@pytest.fixture(scope="module")
def minilm(shared: Path) -> Measured:
    encoder = load_encoder(shared / "models" / "minilm-mlm")
    source = LamaPrompts(shared / "data" / "lama_conceptnet_rendered")
    return measured(encoder, spread(encoder, source.read(), 60))


@pytest.fixture(params=["embedded", "minilm"])
def trained(request: pytest.FixtureRequest) -> Measured:
    return request.getfixturevalue(request.param)


def attributed(trained: Measured, tolerance: float) -> Attribution:
    settings = AttributionSettings(tolerance=tolerance)
    return attribute_encoded(trained.encoder, trained.prompts, settings)


def true_errors(ours: Attribution, truth: Attribution) -> Tensor:
    """``[B]``: distance of a prompt's scores, as a share of their norm."""
    distance = (ours.scores - truth.scores).flatten(1).norm(dim=1)
    return distance / truth.scores.flatten(1).norm(dim=1)


@pytest.mark.parametrize("tolerance", [LOOSE, 0.001])
def test_true_errors_keep_the_tolerance(trained: Measured, tolerance: float) -> None:
    errors = true_errors(attributed(trained, tolerance), trained.truth)
    assert errors.quantile(0.95).item() <= tolerance


def coarse_alike(ours: Tensor, truth: Tensor) -> Tensor:
    """``[B]``: whether coarse neurons are the same, but for such as lie on the border."""
    border = THRESHOLD * truth.amax((1, 2), keepdim=True)
    differ = (ours > THRESHOLD * ours.amax((1, 2), keepdim=True)) != (truth > border)
    return ~(differ & ((truth - border).abs() > BORDER * border)).flatten(1).any(1)


def test_coarse_neurons_at_the_default_are_the_true_ones(trained: Measured) -> None:
    default = attributed(trained, DEFAULT_TOLERANCE)
    assert coarse_alike(default.scores, trained.truth.scores).float().mean() >= 0.99


def test_a_neuron_off_the_border_is_seen() -> None:
    truth = torch.tensor([[[1.0, 0.2001, 0.1], [0.0, 0.0, 0.0]]] * 3)
    ours = truth.clone()
    ours[1, 0, 1] = 0.1999
    truth[2, 0, 1] = 0.2 + 1e-7
    ours[2, 0, 1] = 0.2 - 1e-7
    assert coarse_alike(ours, truth).tolist() == [True, False, True]
