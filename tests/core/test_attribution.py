"""Attribution over encoders whose probability is a formula, so that its integral is known.

``Formula`` is a Forward without any model: P(w) of a prompt is a function of one layer's neurons at
a time, given in closed form with its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from kn_lightning.core.attribution import (
    BasePass,
    Places,
    TokenBatch,
    layer_attribution,
    neuron_attribution,
)
from kn_lightning.core.quadrature import ADAPTIVE_LEVELS, Quadrature
from kn_lightning.errors import InputError

PROMPTS, LAYERS, NEURONS = 2, 3, 4


@dataclass
class Formula:
    """P = f(c . w) for each (prompt, layer); c is such that all layers give the untouched P."""

    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    weights: Tensor
    activations: Tensor
    probability: Tensor

    def __post_init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.gradients: list[tuple[int, int]] = []

    def base(self, batch: TokenBatch) -> BasePass:
        logits = torch.stack([self.probability.log(), (1 - self.probability).log()], 1)
        return BasePass(batch, self.activations, logits)

    def integrated_gradient(self, base: BasePass, places: Places, rule: Quadrature) -> Tensor:
        rows = []
        for prompt, layer in zip(*map(Tensor.tolist, places), strict=True):
            self.asked.append((prompt, layer))
            self.gradients += [(prompt, layer)] * len(rule.nodes)
            c, w = self.weights[prompt, layer], self.activations[prompt, layer]
            points = rule.nodes * (c @ w)
            rows.append((rule.weights * self.slope(points)).sum() * c)
        return torch.stack(rows)

    def scaled_probability(self, base: BasePass, places: Places, factor: float) -> Tensor:
        return self.function(factor * (self.weights * self.activations).sum(-1)[places])

    def ablated_probability(self, base: BasePass, places: Places, neuron: Tensor) -> Tensor:
        product = (self.weights * self.activations)[places]
        alone = product[torch.arange(len(neuron)), neuron]
        return self.function(product.sum(-1) - alone)


def sigmoid_formula(steepness: float = 1.0) -> Formula:
    """P = sigmoid(s * (c . w) - 1); c . w is the same in all layers of a prompt, so P is too."""
    weights = torch.randn(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    activations = torch.randn(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    wanted = torch.tensor([2.0, 0.7], dtype=torch.float64)
    product = (weights * activations).sum(-1, keepdim=True)
    weights = weights * wanted[:, None, None] / product

    def p(x: Tensor) -> Tensor:
        return torch.sigmoid(steepness * x - 1)

    return Formula(p, lambda x: steepness * p(x) * (1 - p(x)), weights, activations, p(wanted))


def batch() -> TokenBatch:
    zeros = torch.zeros(PROMPTS, dtype=torch.long)
    ones = torch.ones(PROMPTS, 3, dtype=torch.long)
    return TokenBatch(ones, ones, zeros, zeros)


def at_zero(formula: Formula) -> Tensor:
    return formula.function(torch.zeros(1, dtype=torch.float64))


def test_scores_are_each_neurons_share_of_the_integral() -> None:
    formula = sigmoid_formula()
    result = layer_attribution(formula, formula.base(batch()), "gauss_legendre", 20)
    # Along the layer's path all of c . w grows together: neuron i's share is c_i w_i / c . w.
    product = formula.weights * formula.activations
    share = product / product.sum(-1, keepdim=True)
    effect = formula.probability - at_zero(formula)
    torch.testing.assert_close(result.scores, share * effect[:, None, None])


def test_scores_add_up_to_the_effect_of_the_layer_and_the_residual_says_how_well() -> None:
    formula = sigmoid_formula(4.0)
    effect = (formula.probability - at_zero(formula))[:, None].expand(-1, LAYERS)
    for rule, nodes in [("gauss_legendre", 3), ("riemann_left", 7), ("linspace", 20)]:
        result = layer_attribution(formula, formula.base(batch()), rule, nodes)
        torch.testing.assert_close(result.total, effect)
        torch.testing.assert_close(result.residual, result.scores.sum(-1) - effect)
        assert (result.evaluations == nodes).all()
    exact = layer_attribution(formula, formula.base(batch()), "gauss_legendre", 40)
    assert exact.residual.abs().max() < 1e-10


def test_a_straight_line_needs_one_node() -> None:
    weights, activations = torch.rand(2, PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    weights *= 0.5 / (weights * activations).sum(-1, keepdim=True)
    formula = Formula(
        lambda x: 0.1 + x,
        torch.ones_like,
        weights,
        activations,
        torch.full((PROMPTS,), 0.6, dtype=torch.float64),
    )
    result = layer_attribution(formula, formula.base(batch()), "riemann_midpoint", 1)
    torch.testing.assert_close(result.scores, weights * activations)
    assert result.residual.abs().max() < 1e-12


@pytest.mark.parametrize(
    ("rule", "factor"),
    [
        ("riemann_left", 19 / 20),  # 2 (0 + 1 + ... + 19) / 20^2
        ("riemann_right", 21 / 20),  # 2 (1 + 2 + ... + 20) / 20^2
        ("linspace", 1.0),  # symmetric: right on a straight slope
        ("trapezoid", 1.0),
    ],
)
def test_sums_over_a_parabola_are_those_of_pencil_and_paper(rule: str, factor: float) -> None:
    weights = torch.ones(1, 1, 1, dtype=torch.float64)
    formula = Formula(
        lambda x: x**2, lambda x: 2 * x, weights, weights * 0.5, torch.tensor([0.25]).double()
    )
    one = TokenBatch(*[torch.zeros(1, 1, dtype=torch.long)] * 2, *[torch.zeros(1).long()] * 2)
    result = layer_attribution(formula, formula.base(one), rule, 20)
    assert result.scores.item() == pytest.approx(0.25 * factor)
    assert result.residual.item() == pytest.approx(0.25 * (factor - 1), abs=1e-12)


def test_the_rule_of_the_package_misses_the_ends_of_a_curved_slope() -> None:
    # P = x^3 on [0, 1]: sum of 3 (k / 19)^2 / 20 for k = 0..19 is 3 * 2470 / 361 / 20.
    one_neuron = torch.ones(1, 1, 1, dtype=torch.float64)
    almost = torch.tensor([1 - 1e-9], dtype=torch.float64)
    formula = Formula(lambda x: x**3, lambda x: 3 * x**2, one_neuron, one_neuron, almost)
    one = TokenBatch(*[torch.zeros(1, 1, dtype=torch.long)] * 2, *[torch.zeros(1).long()] * 2)
    result = layer_attribution(formula, formula.base(one), "linspace", 20)
    assert result.scores.item() == pytest.approx(3 * 2470 / 361 / 20)
    assert result.residual.item() == pytest.approx(0.0263, abs=1e-4)


def test_adaptive_keeps_the_residual_within_its_tolerance() -> None:
    for steepness in (1.0, 8.0, 40.0):
        for tolerance in (0.1, 0.01, 1e-4):
            formula = sigmoid_formula(steepness)
            result = layer_attribution(formula, formula.base(batch()), tolerance=tolerance)
            bound = tolerance * result.total.abs().amax(1, keepdim=True)
            assert (result.residual.abs() <= bound).all()


def test_adaptive_counts_what_it_spent_and_stops_where_it_is_done() -> None:
    formula = sigmoid_formula(1.0)

    class Mixed(Formula):
        """Layer 2 of prompt 1 has ripples on its slope that fine rules alone see as nothing."""

        def integrated_gradient(self, base: BasePass, places: Places, rule: Quadrature) -> Tensor:
            gradient = super().integrated_gradient(base, places, rule)
            for number, place in enumerate(zip(*map(Tensor.tolist, places), strict=True)):
                if place == (1, 2):
                    c, w = self.weights[1, 2], self.activations[1, 2]
                    x = rule.nodes * (c @ w)
                    wave = 0.2 * (40 * math.pi * rule.nodes).cos()  # integrates to 0 over [0, 1]
                    slope = self.slope(x) + wave
                    gradient[number] = (rule.weights * slope).sum() * c
            return gradient

    mixed = Mixed(
        formula.function,
        formula.slope,
        formula.weights,
        formula.activations,
        formula.probability,
    )
    result = layer_attribution(mixed, mixed.base(batch()), tolerance=0.01)
    easy = torch.ones(PROMPTS, LAYERS, dtype=torch.bool)
    easy[1, 2] = False
    assert (result.evaluations[easy] <= sum(ADAPTIVE_LEVELS[:2])).all()
    assert result.evaluations[1, 2] > sum(ADAPTIVE_LEVELS[:2])
    spent = torch.zeros(PROMPTS, LAYERS, dtype=torch.long)
    for place in mixed.gradients:
        spent[place] += 1
    assert torch.equal(result.evaluations, spent)


def test_adaptive_gives_up_at_its_last_level_and_says_so_in_the_residual() -> None:
    formula = sigmoid_formula(1.0)
    noisy = Formula(
        formula.function,
        lambda x: formula.slope(x) + 0.5,  # a gradient that no quadrature can reconcile
        formula.weights,
        formula.activations,
        formula.probability,
    )
    result = layer_attribution(noisy, noisy.base(batch()), tolerance=0.01)
    assert (result.evaluations == sum(ADAPTIVE_LEVELS)).all()
    assert (result.residual.abs() > 0.01 * result.total.abs()).all()


def test_the_tolerance_is_measured_against_the_largest_layer_of_the_prompt() -> None:
    formula = sigmoid_formula(6.0)
    formula.weights[0, 1] *= 1e-3  # hardly moves the probability, whatever its nodes

    class OwnEffect(Formula):
        """Layer 1 of prompt 0 is wrong by 20 % of its own tiny total."""

        def integrated_gradient(self, base: BasePass, places: Places, rule: Quadrature) -> Tensor:
            gradient = super().integrated_gradient(base, places, rule)
            tiny = (places[0] == 0) & (places[1] == 1)
            return torch.where(tiny[:, None], gradient * 1.2, gradient)

    own = OwnEffect(
        formula.function,
        formula.slope,
        formula.weights,
        formula.activations,
        formula.probability,
    )

    # P(0 * w) of that layer is P(w) but for a thousandth: say so consistently.
    def scaled(base: BasePass, places: Places, factor: float) -> Tensor:
        result = Formula.scaled_probability(own, base, places, factor)
        tiny = (places[0] == 0) & (places[1] == 1)
        x = (own.weights * own.activations).sum(-1)[0, 1]
        effect = own.function(x) - own.function(0 * x)
        return torch.where(tiny, own.probability[0] - effect, result)

    own.scaled_probability = scaled  # type: ignore[method-assign]
    result = layer_attribution(own, own.base(batch()), tolerance=0.01)
    assert result.total[0, 1].abs() < 0.01 * result.total[0].abs().max()
    assert result.evaluations[0, 1] == ADAPTIVE_LEVELS[0]


def test_a_layer_without_any_effect_stops_at_once() -> None:
    weights = torch.zeros(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    activations = torch.rand(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    half = torch.full((PROMPTS,), 0.5, dtype=torch.float64)
    formula = Formula(torch.sigmoid, torch.ones_like, weights, activations, half)
    result = layer_attribution(formula, formula.base(batch()))
    assert (result.scores == 0).all()
    assert (result.evaluations == ADAPTIVE_LEVELS[0]).all()


def test_fixed_rules_take_twenty_nodes_unless_told() -> None:
    formula = sigmoid_formula()
    result = layer_attribution(formula, formula.base(batch()), "riemann_right")
    assert (result.evaluations == 20).all()


def test_an_unknown_rule_is_refused() -> None:
    formula = sigmoid_formula()
    with pytest.raises(InputError, match="simpson"):
        layer_attribution(formula, formula.base(batch()), "simpson", 5)


@pytest.mark.parametrize("candidates", [1, 3, 7, LAYERS * NEURONS, 1000])
def test_the_neurons_path_is_the_effect_of_ablating_one_neuron(candidates: int) -> None:
    formula = sigmoid_formula(3.0)
    base = formula.base(batch())
    selection = layer_attribution(formula, base, "gauss_legendre", 10)
    result = neuron_attribution(formula, base, selection, candidates)
    product = formula.weights * formula.activations
    x = product.sum(-1, keepdim=True)
    by_hand = formula.probability[:, None, None] - formula.function(x - product)
    chosen = torch.zeros(PROMPTS, LAYERS * NEURONS, dtype=torch.bool)
    for prompt in range(PROMPTS):  # each prompt's own best, over all its layers
        best = sorted(range(LAYERS * NEURONS), key=lambda i: -selection.scores[prompt].flatten()[i])
        chosen[prompt, best[:candidates]] = True
    chosen = chosen.view_as(by_hand)
    torch.testing.assert_close(result.scores, torch.where(chosen, by_hand, 0))
    assert torch.equal(result.evaluations, selection.evaluations + chosen.sum(-1))
    assert torch.equal(result.total, selection.total)
    assert torch.equal(result.residual, selection.residual)


def test_the_neurons_path_does_not_change_what_it_was_given() -> None:
    formula = sigmoid_formula()
    base = formula.base(batch())
    selection = layer_attribution(formula, base, "gauss_legendre", 5)
    scores, evaluations = selection.scores.clone(), selection.evaluations.clone()
    neuron_attribution(formula, base, selection, 3)
    assert torch.equal(selection.scores, scores)
    assert torch.equal(selection.evaluations, evaluations)


def test_statistics_of_the_answer_are_those_of_the_untouched_encoder() -> None:
    formula = sigmoid_formula()
    result = layer_attribution(formula, formula.base(batch()), "riemann_left", 2)
    torch.testing.assert_close(result.probability, formula.probability)
    expected = (formula.probability / (1 - formula.probability)).log()
    torch.testing.assert_close(result.log_odds, expected)
    assert result.rank.tolist() == [1 if p > 0.5 else 2 for p in formula.probability.tolist()]


def test_places_are_ordered_by_prompt_and_then_layer() -> None:
    mask = torch.tensor([[False, True, True], [True, False, True]])
    prompt, layer = Places.where(mask)
    assert list(zip(prompt.tolist(), layer.tolist(), strict=True)) == [
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 2),
    ]
