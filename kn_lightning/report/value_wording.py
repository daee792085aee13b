"""Value vectors in ``summary.json`` → their sentences, tables, and the words of their figure."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.caption import Caption
from kn_lightning.report.labels import concepts, effect, listed, test_label
from kn_lightning.report.language import say, sentences
from kn_lightning.report.listing import Listing
from kn_lightning.report.numerals import GAP, count, number, p_value, share, with_interval

Summary = dict[str, Any]
FIGURE = "values"
_NEGATIVE = 0.05
"""Share of neurons that are negative for their concept from which that is said."""


def source_label(source: str) -> str:
    """Whose value vectors are read."""
    return {
        "knowledge": say("the concept's neurons"),
        "random": say("random neurons of the same layers"),
    }[source]


def findings(numbers: Summary) -> list[str]:
    """Where concepts stand among what their neurons promote: one paragraph, or none."""
    found = numbers["values"]
    if not found:
        return []
    if not found["knowledge"]["n_concepts"]:
        return [say("Value vectors were asked for, but there is no knowledge neuron to read.")]
    text = say(
        "Read by the model's own head, the value vectors of a concept's neurons put the concept at "
        "rank {own} of {tokens} tokens ({concepts}, median of medians).",
        own=_median(found["knowledge"]),
        tokens=count(found["n_tokens"]),
        concepts=concepts(found["knowledge"]["n_concepts"]),
    )
    return [sentences(text, _beside_random(found))]


def _median(row: dict[str, Any]) -> str:
    return with_interval(_rank, row["median"], row["median_ci"])


def _rank(value: float | None) -> str:
    return count(None if value is None else round(value))


def _p(value: float) -> str:
    """``p < 0.001``, or ``p = 0.012``."""
    text = p_value(value)
    return f"p{GAP}{text}" if text.startswith("<") else f"p{GAP}={GAP}{text}"


def _beside_random(found: dict[str, Any]) -> str:
    test = found["test"]
    if not test:
        return ""
    return say(
        "With random neurons of the same layers it is {random}: the concept stands {times} times "
        "as high with its own in the median ({test} of the logarithm, paired by concept, "
        "n = {n}, {p}, {effect}).",
        random=_median(found["random"]),
        times=with_interval(count, found["times"], found["times_ci"]),
        test=test_label(test["test"]),
        n=count(test["n_a"]),
        p=_p(test["p"]),
        effect=effect(test),
    )


def caveats(numbers: Summary) -> list[str]:
    """What value vectors alone can't show."""
    found = numbers["values"]
    if not found or not found["knowledge"]["n_concepts"]:
        return []
    result = [
        say(
            "Value vectors: attribution chooses neurons by their effect on the answer's "
            "probability, and in the last layer a value vector is most of that effect. That the "
            "concept stands high there is no independent evidence; lower layers are the test."
        )
    ]
    if (negative := found["negative"]) > _NEGATIVE:
        text = say(
            "Value vectors: {share} of the knowledge neurons are negative in their concept's "
            "prompts in the mean, so that there they promote what the table calls demoted.",
            share=share(negative),
        )
        result.append(text)
    return result


def by_layer(numbers: Summary) -> Listing:
    """Ranks with all neurons, and with those of each layer."""
    found = numbers["values"]
    rows = [(say("all"), found)] if found else []
    rows += [(str(layer), row) for layer, row in found.get("by_layer", {}).items()]
    return Listing(
        say("Rank of the concept among the tokens that value vectors promote"),
        (
            say("Layer (0-based)"),
            say("Concepts"),
            say("Neurons"),
            say("Its neurons, median rank [95 % interval]"),
            say("Random ones, median rank [95 % interval]"),
            say("Times as high [95 % interval]"),
            say("Among the first 100, its / random"),
            say("rank-biserial r"),
            say("adjusted p"),
        ),
        tuple((layer, *_cells(row)) for layer, row in rows if row["knowledge"]["n_concepts"]),
        note=_reading(),
    )


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    own, random, test = row["knowledge"], row["random"], row["test"] or {}
    return (
        count(own["n_concepts"]),
        count(own["n_neurons"]),
        _median(own),
        _median(random),
        with_interval(count, row["times"], row["times_ci"]),
        f"{share(own['top_100'])} / {share(random['top_100'])}",
        number(test.get("effect_size")),
        p_value(test.get("p_adjusted", test.get("p"))),
    )


def _reading() -> str:
    return say(
        "A neuron adds its activation times its value vector v (its column of the second map) to "
        "the hidden state. Tokens are ranked by (head(v) − head(−v)) / 2, head being all that the "
        "model has above its layers; half the difference, as a head promotes frequent tokens "
        "whatever it is given. This is an approximation: all layers in between are left out, and a "
        "head with a transform and norms is no linear map. The activation's size and sign are left "
        "out too. Of an answer of several tokens the best one counts. A concept's rank is the "
        "median over its neurons, or over all random ones drawn for it; the test is Wilcoxon's of "
        "the ranks' logarithms, paired by concept, adjusted over layers (Benjamini–Hochberg)."
    )


def strongest(numbers: Summary) -> Listing:
    """What the strongest neurons promote and demote, and what activates them."""
    rows = tuple(
        (
            row["concept"],
            ", ".join(row["promoted"]),
            ", ".join(row["demoted"]),
            " / ".join(row["prompts"]),
            f"{row['layer']}, {row['neuron']}",
            count(row["rank"]),
        )
        for row in numbers["values"].get("strongest", [])
    )
    return Listing(
        say("Key and value of the strongest neurons"),
        (
            say("Concept"),
            say("Promoted tokens"),
            say("Demoted tokens"),
            say("Most active in"),
            say("Layer, neuron"),
            say("Rank of the concept"),
        ),
        rows,
        n_words=4,
        note=say(
            "The neuron with the largest mean score of each concept, of the concepts where it is "
            "largest, and the prompts of the whole study that activate it most. All neurons, with "
            "the random ones, are in values.parquet."
        ),
    )


def captions(numbers: Summary) -> dict[str, Caption]:
    """The words of the figure, where there are neurons."""
    found = numbers["values"]
    if not found or not found["knowledge"]["n_concepts"]:
        return {}
    medians = (f"{source_label(name)} {_median(found[name])}" for name in ("knowledge", "random"))
    return {
        FIGURE: Caption(
            title=say(
                "Concepts among the tokens that value vectors promote: {concepts}",
                concepts=concepts(found["knowledge"]["n_concepts"]),
            ),
            reading=say(
                "Above: the share of neurons whose value vector puts the concept at a rank or "
                "higher; 1 is the most promoted token. Below: by layer, points are medians over "
                "concepts, lines hold the middle half of the neurons. Dots and dashes: what chance "
                "would give. Neurons that write their concept lie to the upper left and high above."
            ),
            alt=say(
                "Cumulative shares, and points by layer. Median ranks: {list}.",
                list=listed(*medians),
            ),
        )
    }
