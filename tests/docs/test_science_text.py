"""The numbers in the text of docs/science.md; its tables and its pairs have tests of their own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kn_lightning.core.registry import AttributionSettings

from .said import Row, assert_said, claimed, stored, where
from .test_science import PAGE, beside, cells, only, triple


def ablation(measure: str, attribution: str = "ablation") -> Callable[[], list[float]]:
    """What agreement with integrated gradients is kept; correlations as they are."""

    def found() -> list[float]:
        rows = cells("questions")["ablation beside integrated gradients"]
        row = where(rows, measure=measure, attribution=attribution)
        return triple(row, times=1 if measure.startswith("spearman") else 100)

    return found


def consistency(place: int, *keys: str) -> Callable[[], list[float]]:
    return lambda: [cells("questions")["consistency"][place][key] for key in keys]


def exhaustive(measure: str, *keys: str) -> Callable[[], list[float]]:
    def found() -> list[float]:
        row = where(only("exhaustive_ablation"), measure=measure)
        return [100 * row[key] for key in keys]

    return found


def denied(edit: str) -> Callable[[], list[float]]:
    """How much more the edit does where the word is denied, in points."""

    def found() -> list[float]:
        row = where(only("negated_prompts"), edit=edit, kind="negated")
        keys = ("own_less_this", "difference_from", "difference_to")
        # Own less negated: more of a fall is above 0, more of a rise below.
        sign = {"suppress": 100, "amplify": -100}[edit]
        middle, *ends = (sign * row[key] for key in keys)
        return [middle, *sorted(ends)]

    return found


def promoted(of: str, layer: str = "all") -> Callable[[], list[float]]:
    """Where value vectors promote the concept: a median with its interval, or a share."""

    def found() -> list[float]:
        row = where(only("value_vectors"), layer=layer)
        if of.startswith("first_ten"):
            return [100 * row[of]]
        limits = "" if of == "times_higher" else of.removeprefix("rank_") + "_"
        return [row[of], row[f"{limits}from"], row[f"{limits}to"]]

    return found


def counted(name: str, *keys: str) -> Callable[[], list[float]]:
    return lambda: [beside(name)["counts"][key] for key in keys]


def shape() -> list[float]:
    """Layers, and neurons in each."""
    layers = len([row for row in only("value_vectors") if row["layer"] != "all"])
    return [layers, beside("exhaustive_ablation")["neurons_ablated"] / layers]


def counted_of_weights() -> list[float]:
    name = "minilm-mlm, pararel_capitals, 40 concepts: edits of weights"
    return [stored("other_methods")[name]["counts"][key] for key in ("prompts", "concepts")]


def missed(cell: Row) -> list[float]:
    """Of how many of ablation's ten best, how many are no candidates."""
    row = where(cell["rows"], measure="share of ablation's ten outside the candidates")
    of = 10 * cell["prompts"]
    return [of, row["mean"] * of]


def missed_here() -> list[float]:
    cell = beside("exhaustive_ablation")
    of, n = missed(cell)
    prompts = cell["prompts_with_any_outside"]
    return [of, n, n / prompts, prompts]


def of_testbed() -> list[float]:
    cell = stored("exhaustive_ablation")["testbed"]
    of, n = missed(cell)
    mean = where(cell["rows"], measure="overlap at 10")["mean"]
    return [cell["neurons_ablated"], cell["prompts"], n, of, 100 * mean]


def halved() -> list[float]:
    """In how many concepts one neuron does it, and in how many percent ten."""
    rows = cells("questions")["number of neurons"]
    one, ten = (where(rows, neurons=n, source="top") for n in (1, 10))
    concepts = one["concepts"]
    return [one["falls_by_half"] * concepts, concepts, 100 * ten["falls_by_half"]]


def best_neurons(of: str) -> Callable[[], list[float]]:
    def found() -> list[float]:
        rows = cells("questions")["number of neurons"]
        return [max(row[of] for row in rows if row["source"] == "top")]

    return found


def unedited() -> list[float]:
    kept = beside("negated_prompts")["unedited"]["probability_kept"]
    return [100 * value for value in (kept["median"], *kept["interval"])]


def first_guesses() -> list[float]:
    kept = beside("negated_prompts")["unedited"]["first_guess"]
    return [100 * kept["negations"], 100 * kept["prompts"]]


def both_p() -> list[float]:
    rows = only("negated_prompts")
    return [max(row["p"] for row in rows if row["kind"] == "negated")]


def held_out() -> list[float]:
    """Knowledge neurons on both kinds of prompts, and random ones, which do as little on both."""
    rows = cells("other_methods")["edits of weights"]
    knowledge, random = (
        [
            100 * where(rows, edit="erase_zero", neurons=neurons, aspect=aspect)["relative_change"]
            for aspect in ("reliability", "generality")
        ]
        for neurons in ("knowledge", "random")
    )
    assert f"{random[0]:.2f}" == f"{random[1]:.2f}"
    return [*knowledge, random[0]]


def promoted_of(layer: str, *keys: str) -> Callable[[], list[float]]:
    return lambda: [where(only("value_vectors"), layer=layer)[key] for key in keys]


OWN = ("within", "from", "to")
BETWEEN = ("between", "between_from", "between_to")


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        (r"at a median place of (\S+ \[.*?\]) of", promoted("rank_knowledge")),
        (r"neurons, and at (\S+ \[.*?\]), which is chance", promoted("rank_random")),
        (r"same layers: (\d+ times \[.*?\]) higher", promoted("times_higher")),
        (r"(\S+ %) of knowledge neurons have it among", promoted("first_ten_knowledge")),
        (r"first ten tokens, (\S+ %) of random ones", promoted("first_ten_random")),
        (r"\((\d+) layers, (\S+) neurons in each", shape),
        (r"on the first (\d+) concepts of sentences", counted("questions", "concepts")),
        (r"masked, with (\S+) prompts, unless", counted("questions", "prompts")),
        (r"\] of (\S+) for its own knowledge", counted("value_vectors", "tokens")),
        (r"test over (\d+) concepts, p < \S+\)\. \S+ % of", promoted_of("all", "concepts")),
        (r"concepts, p (< \S+)\)\. \S+ % of knowledge neurons", promoted_of("all", "p")),
        (r"is not significant \((\S+ times \[.*?\]), p", promoted("times_higher", "0")),
        (r"\], p = (\S+), of the (\d+) concepts with", promoted_of("0", "p", "concepts")),
        (r"in the highest it is (\S+ times \[.*?\])\.", promoted("times_higher", "5")),
        (r"best neurons (\S+ % \[.*?\]) are among the ten", ablation("overlap_10")),
        (r"of as many as are coarse (\S+ % \[.*?\]);", ablation("overlap_coarse")),
        (r"correlate with Spearman's (\S+ \[.*?\])\.", ablation("spearman_candidates")),
        (
            r"as near to integrated gradients \((\S+ %) of ten\)",
            ablation("overlap_10", "gradient_activation"),
        ),
        (r"activation alone is not \((\S+ %)", ablation("overlap_10", "activation")),
        (r"coarse neurons is (\S+ \[.*?\]) on average within", consistency(0, *OWN)),
        (r"and (\S+) between prompts of two different concepts", consistency(0, "between")),
        (r"\(Niu et al\. 2024\) of (\S+ \[.*?\]) on average", consistency(1, *OWN)),
        (r"and of (\S+ \[.*?\]) across as many prompts", consistency(1, *BETWEEN)),
        (r"each of the (\d+) that have both", consistency(1, "larger_within")),
        (
            r"the mean share of ten falls from (\S+) to",
            exhaustive("overlap at 10", "mean_of_candidates"),
        ),
        (r"ten falls from \S+ to (\S+ %)", exhaustive("overlap at 10", "mean")),
        (
            r"of each prompt, the (\d+) neurons with the highest scores and the (\d+) with the",
            lambda: [AttributionSettings().candidates] * 2,
        ),
        (r"where more than (\d+) are coarse", lambda: [AttributionSettings().candidates]),
        (
            r"The median of (\d+) prompts moves",
            lambda: [beside("exhaustive_ablation")["prompts"]],
        ),
        (
            r"ablated all (\S+) neurons one by one, of one prompt of each of (\d+) of the",
            lambda: [beside("exhaustive_ablation")[key] for key in ("neurons_ablated", "prompts")],
        ),
        (
            r"Of ablation's (\S+) best the candidates miss (\w+), (\w+) in each of (\w+) prompts",
            missed_here,
        ),
        (
            r"with all (\S+) neurons of one prompt of each of its (\d+) concepts ablated, "
            r"(\w+) of (\S+) are missed, and the mean share of ten stays at (\S+ %)",
            of_testbed,
        ),
        (r"halves the probability in (\d+) of (\d+) concepts, ten do in (\d+ %) of them", halved),
        (
            r"fifty of (\S+) carry nearly all",
            lambda: [beside("exhaustive_ablation")["neurons_ablated"]],
        ),
        (r"in each of the (\d+) concepts and at every number", best_neurons("concepts")),
        (r"adjusted p (< \S+)\)\. \*\*Consistency", best_neurons("p")),
        (
            r"likely to find\"\), (\S+) prompts of the (\d+) concepts that have",
            counted("negated_prompts", "prompts", "concepts"),
        ),
        (r"answer keeps (\S+ % \[.*?\]) of its probability", unedited),
        (r"first guess for (\d+ %) of negations as for (\d+ %) of prompts", first_guesses),
        (r"adjusted p (< \S+) for both", both_p),
        (r"for (\d+) prompts of (\d+) concepts, ParaRel", counted_of_weights),
        (
            r"probability by (\S+ %) in the median concept on the prompts that found them, "
            r"by (\S+ %) on those held out, and with random neurons by (\S+ %) on either",
            held_out,
        ),
        (r"\(pairs of a concept: (\S+ points \[.*?\]) under", denied("suppress")),
        (r"under suppression, (\S+ \[.*?\]) under amplification", denied("amplify")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_of_the_text(claim: str, values: Callable[[], list[float]]) -> None:
    assert_said(claimed(PAGE, claim), values())
