"""Which settings of attribution go together, and attributions from outside."""

from __future__ import annotations

from typing import Any

import pytest

from kn_lightning.core.registry import ATTRIBUTIONS, AttributionSettings
from kn_lightning.errors import InputError


def test_names_are_those_of_the_contract() -> None:
    assert list(ATTRIBUTIONS) == [
        "integrated_gradients",
        "activation",
        "gradient_activation",
        "ablation",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"attribution": "gradient"}, r"unknown attribution 'gradient': choose one of integrated_"),
        ({"compare": ("ablations",)}, r"unknown attribution 'ablations': choose one of integrated"),
        ({"compare": ("integrated_gradients",)}, r"compare \[integrated_gradients\].*own"),
        ({"compare": ("ablation", "ablation")}, r"compare \[ablation, ablation\].*once"),
        ({"attribution": "activation", "rule": "linspace"}, r"rule 'linspace' .*activation.*leave"),
        ({"attribution": "activation", "tolerance": 0.1}, r"tolerance 0\.1 .*activation: leave"),
        (
            {"attribution": "ablation", "rule": "linspace", "nodes": 5, "compare": ("activation",)},
            r"rule 'linspace' .*ablation: leave it out",
        ),
        ({"attribution": "activation", "path": "neuron"}, r"path 'neuron' .*'ablation' ablates"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_in_one_line(
    settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        AttributionSettings(**settings)
    assert "\n" not in str(caught.value)


def test_quadrature_is_asked_for_where_integrated_gradients_are_compared() -> None:
    settings = AttributionSettings(
        "linspace", 5, attribution="ablation", compare=("integrated_gradients",)
    )
    assert settings.rule == "linspace"


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, True),
        ({"rule": "gauss_legendre"}, False),
        ({"rule": "riemann_right"}, True),
        ({"attribution": "activation"}, False),
        ({"attribution": "ablation"}, False),
        ({"attribution": "gradient_activation"}, True),
    ],
)
def test_a_backward_pass_is_made_where_it_is_needed(settings: Any, needed: bool) -> None:
    chosen = AttributionSettings(**settings)
    assert chosen.needs_slope(chosen.attribution) == needed


def test_an_attribution_from_outside_is_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="unknown attribution 'mine'"):
        AttributionSettings(attribution="mine")
    monkeypatch.setitem(ATTRIBUTIONS, "mine", lambda forward, base, settings: base)
    assert AttributionSettings(attribution="mine").needs_slope("mine")
