"""Attribution over encoders whose probability is a formula, so that its integral is known.

``Formula`` is a Forward without any model: P(w) of a prompt is a function of one layer's neurons at
a time, given in closed form with its gradient.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from kn_lightning.core.attribution import layer_attribution, neuron_attribution, path_rules
from kn_lightning.core.forward import BasePass, Places, Points, Slope, TokenBatch
from kn_lightning.core.probabilities import AnswerStatistics
from kn_lightning.core.quadrature import ADAPTIVE, adaptive_rules
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution

PROMPTS, LAYERS, NEURONS = 2, 3, 4


@dataclass
class Formula:
    """P = f(c . w) for each (prompt, layer); c is such that all layers give the untouched P.

    There is one mask. Its own coordinate is c . w, one number: gradients come as ``[R, 1, 1]``.
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    weights: Tensor
    activations: Tensor
    probability: Tensor

    def __post_init__(self) -> None:
        self.slopes: list[tuple[int, int, float]] = []
        self.probabilities: list[tuple[int, int, float]] = []

    @property
    def end(self) -> Tensor:
        """How far each layer's path goes: its c . w, ``[B, L]``."""
        return (self.weights * self.activations).sum(-1)

    def base(self, batch: TokenBatch, with_slope: bool = False) -> BasePass:
        p = self.probability
        first = (p < 0.5).long()
        statistics = AnswerStatistics(p, (p / (1 - p)).log(), 1 + first, first)
        ends = self.derivative(self.end)[..., None, None] if with_slope else None
        return BasePass(batch, self.activations[:, :, None], statistics, ends)

    def slope(self, base: BasePass, points: Points) -> Slope:
        self.slopes += zip(*map(Tensor.tolist, points), strict=True)
        x = points.node * self.end[points.prompt, points.layer]
        return Slope(self.function(x), self.derivative(x)[:, None, None])

    def neuron_gradient(self, base: BasePass, places: Places, gradient: Tensor) -> Tensor:
        return gradient * self.weights[places][:, None]

    def scaled_probability(self, base: BasePass, places: Places, factor: float) -> Tensor:
        self.probabilities += zip(
            *map(Tensor.tolist, places), [factor] * len(places[0]), strict=True
        )
        return self.function(factor * self.end[places])

    def ablated_probability(self, base: BasePass, places: Places, neuron: Tensor) -> Tensor:
        product = (self.weights * self.activations)[places]
        alone = product[torch.arange(len(neuron)), neuron]
        return self.function(product.sum(-1) - alone)


def attributed(
    formula: Formula, rule: str = ADAPTIVE, nodes: int | None = None, tolerance: float = 0.01
) -> Attribution:
    """Attribution of all prompts; the slope at the end of the path is given as the engine does."""
    rules = path_rules(rule, nodes, tolerance)
    base = formula.base(batch(len(formula.probability)), rule == ADAPTIVE)
    return layer_attribution(formula, base, rules, tolerance)


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


def batch(prompts: int = PROMPTS) -> TokenBatch:
    zeros = torch.zeros(prompts, dtype=torch.long)
    ones = torch.ones(prompts, 3, dtype=torch.long)
    return TokenBatch(ones, ones, zeros, zeros)


def at_zero(formula: Formula) -> Tensor:
    return formula.function(torch.zeros(1, dtype=torch.float64))


def test_scores_are_each_neurons_share_of_the_integral() -> None:
    formula = sigmoid_formula()
    result = attributed(formula, "gauss_legendre", 20)
    # Along the layer's path all of c . w grows together: neuron i's share is c_i w_i / c . w.
    product = formula.weights * formula.activations
    share = product / product.sum(-1, keepdim=True)
    effect = formula.probability - at_zero(formula)
    torch.testing.assert_close(result.scores, share * effect[:, None, None])


def test_scores_add_up_to_the_effect_of_the_layer_and_the_residual_says_how_well() -> None:
    formula = sigmoid_formula(4.0)
    effect = (formula.probability - at_zero(formula))[:, None].expand(-1, LAYERS)
    for rule, nodes in [("gauss_legendre", 3), ("riemann_left", 7), ("linspace", 20)]:
        result = attributed(formula, rule, nodes)
        torch.testing.assert_close(result.total, effect)
        torch.testing.assert_close(result.residual, result.scores.sum(-1) - effect)
        assert (result.evaluations == nodes).all()
    exact = attributed(formula, "gauss_legendre", 40)
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
    result = attributed(formula, "riemann_midpoint", 1)
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
    result = attributed(formula, rule, 20)
    assert result.scores.item() == pytest.approx(0.25 * factor)
    assert result.residual.item() == pytest.approx(0.25 * (factor - 1), abs=1e-12)


def test_the_rule_of_the_package_misses_the_ends_of_a_curved_slope() -> None:
    # P = x^3 on [0, 1]: sum of 3 (k / 19)^2 / 20 for k = 0..19 is 3 * 2470 / 361 / 20.
    one_neuron = torch.ones(1, 1, 1, dtype=torch.float64)
    almost = torch.tensor([1 - 1e-9], dtype=torch.float64)
    formula = Formula(lambda x: x**3, lambda x: 3 * x**2, one_neuron, one_neuron, almost)
    result = attributed(formula, "linspace", 20)
    assert result.scores.item() == pytest.approx(3 * 2470 / 361 / 20)
    assert result.residual.item() == pytest.approx(0.0263, abs=1e-4)


@pytest.mark.parametrize("steepness", [1.0, 8.0, 40.0])
@pytest.mark.parametrize("tolerance", [0.1, 0.01, 1e-4])
def test_adaptive_keeps_the_residual_within_half_its_tolerance(
    steepness: float, tolerance: float
) -> None:
    result = attributed(sigmoid_formula(steepness), tolerance=tolerance)
    bound = tolerance / 2 * result.total.abs().amax(1, keepdim=True)
    assert (result.residual.abs() <= bound).all()


def nodes_of(tolerance: float, rules: int) -> int:
    """Different nodes of the first so many adaptive rules."""
    return len({node for rule in adaptive_rules(tolerance)[:rules] for node in rule.nodes.tolist()})


def altered(formula: Formula, slope: Callable[[Points, Slope], Slope]) -> Formula:
    """The same formula, what it says of points put through ``slope``."""

    class Altered(Formula):
        def slope(self, base: BasePass, points: Points) -> Slope:
            return slope(points, super().slope(base, points))

    return Altered(
        formula.function,
        formula.derivative,
        formula.weights,
        formula.activations,
        formula.probability,
    )


def test_adaptive_counts_what_it_spent_and_stops_where_it_is_done() -> None:
    def ripple(points: Points, slope: Slope) -> Slope:
        """Layer 1 of prompt 1 has ripples that integrate to 0: fine rules alone see that."""
        here = (points.prompt == 1) & (points.layer == 1)
        wave = 0.2 * (40 * math.pi * points.node).cos()
        return slope._replace(gradient=slope.gradient + (here * wave)[:, None, None])

    formula = altered(sigmoid_formula(1.0), ripple)
    result = attributed(formula, tolerance=0.01)
    easy = torch.ones(PROMPTS, LAYERS, dtype=torch.bool)
    easy[1, 1] = False
    assert (result.evaluations[easy] <= nodes_of(0.01, 2)).all()
    assert result.evaluations[1, 1] == nodes_of(0.01, 5)
    spent = Counter((prompt, layer) for prompt, layer, _ in formula.slopes)
    # The untouched encoder's own slope, node 1 of every path, is asked of nobody.
    ones = [[spent[prompt, layer] + 1 for layer in range(LAYERS)] for prompt in range(PROMPTS)]
    assert result.evaluations.tolist() == ones
    assert result.residual[1, 1].abs() <= 0.005 * result.total[1].abs().max()


@pytest.mark.parametrize("steepness", [1.0, 8.0, 40.0, 400.0])
@pytest.mark.parametrize("tolerance", [0.01, 0.001, 1e-6])
def test_no_slope_is_asked_for_twice_and_the_ends_cost_no_rows_of_their_own(
    steepness: float, tolerance: float
) -> None:
    formula = sigmoid_formula(steepness)
    result = attributed(formula, tolerance=tolerance)
    assert max(Counter(formula.slopes).values()) == 1
    everywhere = {(prompt, layer) for prompt in range(PROMPTS) for layer in range(LAYERS)}
    # P(0 * w) and the slope there come from the same row, and so no row gives P alone.
    assert {(prompt, layer) for prompt, layer, node in formula.slopes if node == 0} == everywhere
    assert formula.probabilities == []
    assert not [node for *_, node in formula.slopes if node == 1]
    assert result.evaluations.sum() == len(formula.slopes) + len(everywhere)


def test_a_rule_without_the_ends_asks_for_the_probability_at_zero_alone() -> None:
    formula = sigmoid_formula()
    result = attributed(formula, "gauss_legendre", 5)
    everywhere = [(prompt, layer) for prompt in range(PROMPTS) for layer in range(LAYERS)]
    assert sorted(formula.probabilities) == [(*place, 0.0) for place in everywhere]
    nodes = path_rules("gauss_legendre", 5, 0.01)[0].nodes.tolist()
    assert sorted(formula.slopes) == [(*place, node) for place in everywhere for node in nodes]
    assert (result.evaluations == 5).all()


@pytest.mark.parametrize("rule", ["trapezoid", "riemann_right", "linspace"])
def test_a_fixed_rule_takes_the_end_of_the_path_from_the_base_pass_where_it_is_known(
    rule: str,
) -> None:
    formula = sigmoid_formula()
    scores = []
    for with_slope, asked in [(True, 0), (False, PROMPTS * LAYERS)]:
        formula.slopes.clear()
        base = formula.base(batch(), with_slope)
        result = layer_attribution(formula, base, path_rules(rule, 7, 0.01))
        assert sum(node == 1 for *_, node in formula.slopes) == asked
        assert (result.evaluations == 7).all()
        scores.append(result.scores)
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize(("tolerance", "nodes"), [(0.01, (3, 5)), (0.001, (4, 7))])
def test_the_last_layer_starts_one_rule_further(tolerance: float, nodes: tuple[int, int]) -> None:
    formula = sigmoid_formula(0.01)  # all but straight: the first rule is enough for anyone
    result = attributed(formula, tolerance=tolerance)
    assert (result.evaluations[:, :-1] == nodes[0]).all()
    assert (result.evaluations[:, -1] == nodes[1]).all()
    exact = attributed(formula, "gauss_legendre", 40)
    torch.testing.assert_close(result.scores, exact.scores, rtol=1e-6, atol=0)


def test_adaptive_gives_up_at_its_last_rule_and_says_so_in_the_residual() -> None:
    # A gradient that no quadrature can reconcile.
    formula = altered(sigmoid_formula(1.0), lambda _, s: s._replace(gradient=s.gradient + 0.5))
    result = attributed(formula, tolerance=0.01)
    assert (result.evaluations == nodes_of(0.01, 5)).all()
    assert (result.residual.abs() > 0.01 * result.total.abs()).all()


def test_the_tolerance_is_measured_against_the_largest_layer_of_the_prompt() -> None:
    formula = sigmoid_formula(6.0)
    formula.weights[0, 1] *= 1e-3  # hardly moves the probability, whatever its nodes
    missing = formula.probability[0] - formula.function(formula.end[0, 1])

    def wrong(points: Points, slope: Slope) -> Slope:
        """Layer 1 of prompt 0 is wrong by a good part of its own tiny total."""
        tiny = (points.prompt == 0) & (points.layer == 1)
        return Slope(
            # P(0 * w) of that layer is P(w) but for a thousandth: say so consistently.
            torch.where(tiny, slope.probability + missing, slope.probability),
            torch.where(tiny[:, None, None], slope.gradient * 1.2, slope.gradient),
        )

    result = attributed(altered(formula, wrong), tolerance=0.01)
    assert result.total[0, 1].abs() < 0.01 * result.total[0].abs().max()
    assert result.residual[0, 1].abs() > 0.1 * result.total[0, 1].abs()
    assert result.evaluations[0, 1] == nodes_of(0.01, 1)


def test_what_half_precision_rounds_away_asks_for_no_more_nodes() -> None:
    formula = sigmoid_formula()
    # Wrong by 2 % of P: more than the tolerance, less than eight units in bf16's last place.
    off = altered(formula, lambda _, s: s._replace(gradient=s.gradient * 1.02))
    assert (attributed(off, tolerance=0.001).evaluations == nodes_of(0.001, 5)).all()
    off.activations = off.activations.bfloat16()
    result = attributed(off, tolerance=0.001)
    assert (result.residual.abs() > 0.001 * result.total.abs()).all()
    assert (result.evaluations[:, :-1] == nodes_of(0.001, 1)).all()


def test_a_layer_without_any_effect_stops_at_once() -> None:
    weights = torch.zeros(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    activations = torch.rand(PROMPTS, LAYERS, NEURONS, dtype=torch.float64)
    half = torch.full((PROMPTS,), 0.5, dtype=torch.float64)
    result = attributed(Formula(torch.sigmoid, torch.ones_like, weights, activations, half))
    assert (result.scores == 0).all()
    assert (result.evaluations[:, :-1] == nodes_of(0.01, 1)).all()
    assert (result.evaluations[:, -1] == nodes_of(0.01, 2)).all()


def test_fixed_rules_take_twenty_nodes_unless_told() -> None:
    formula = sigmoid_formula()
    result = attributed(formula, "riemann_right")
    assert (result.evaluations == 20).all()


def test_an_unknown_rule_is_refused() -> None:
    formula = sigmoid_formula()
    with pytest.raises(InputError, match="simpson"):
        attributed(formula, "simpson", 5)


@pytest.mark.parametrize("candidates", [1, 3, 7, LAYERS * NEURONS, 1000])
def test_the_neurons_path_is_the_effect_of_ablating_one_neuron(candidates: int) -> None:
    formula = sigmoid_formula(3.0)
    base = formula.base(batch())
    selection = layer_attribution(formula, base, path_rules("gauss_legendre", 10, 0.01))
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
    selection = layer_attribution(formula, base, path_rules("gauss_legendre", 5, 0.01))
    scores, evaluations = selection.scores.clone(), selection.evaluations.clone()
    neuron_attribution(formula, base, selection, 3)
    assert torch.equal(selection.scores, scores)
    assert torch.equal(selection.evaluations, evaluations)


def test_statistics_of_the_answer_are_those_of_the_untouched_encoder() -> None:
    formula = sigmoid_formula()
    result = attributed(formula, "riemann_left", 2)
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


def test_a_rule_is_summed_up_in_full_precision_whatever_the_trainers() -> None:
    formula = sigmoid_formula()
    formula.weights, formula.activations = formula.weights.float(), formula.activations.float()
    formula.probability = formula.probability.float()
    expected = attributed(formula, "gauss_legendre", 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(attributed(formula, "gauss_legendre", 20).scores, expected.scores)
