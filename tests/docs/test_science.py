"""The numbers of docs/science.md are those that the benchmarks keep, rounded as it has them."""

from __future__ import annotations

from scipy.stats import wilcoxon

from .said import Row, assert_said, page, stored, table, where

PAGE = page("science.md")
TEXT = " ".join(PAGE.split())


def cells(name: str) -> dict[str, list[Row]]:
    """Rows of the encoder that the page is about, by the question behind the cell's name."""
    return {
        cell.rpartition(": ")[2]: found["rows"]
        for cell, found in stored(name).items()
        if cell.startswith("minilm-mlm")
    }


def only(name: str) -> list[Row]:
    """Rows of a result of one cell."""
    (rows,) = cells(name).values()
    return rows


def beside(name: str) -> Row:
    """A cell of the encoder that the page is about, with what is kept beside its rows."""
    return next(cell for key, cell in stored(name).items() if key.startswith("minilm-mlm"))


def triple(row: Row, of: str = "median", times: float = 100) -> list[float]:
    """A value with its interval, in percent unless told."""
    return [times * row[key] for key in (of, "from", "to")]


def test_doses() -> None:
    rows = cells("questions")["doses"]
    heads = ("own neurons, own prompts", "own neurons, other concepts' prompts")
    controls = ("random neurons, own prompts", "most active neurons, own prompts")
    body = table(PAGE, "factor", *heads, *controls)
    assert [float(line[0]) for line in body] == [0, 0.5, 1.5, 2, 3]
    for factor, *said in body:
        for kind, text in zip(("own", "other", "random", "activation"), said, strict=True):
            assert_said(text, triple(where(rows, kind=kind, factor=float(factor))))


def test_number_of_neurons() -> None:
    rows = cells("questions")["number of neurons"]
    body = table(PAGE, "neurons", "best", "random")
    assert [int(line[0]) for line in body] == [1, 2, 5, 10, 20, 50]
    for n, *said in body:
        for source, text in zip(("top", "top_random"), said, strict=True):
            assert_said(text, triple(where(rows, neurons=int(n), source=source)))


def test_negations() -> None:
    rows = only("negated_prompts")
    heads = ("own prompts", "the same, negated", "other concepts' prompts")
    controls = ('prompts of "london"', "random neurons, own prompts")
    body = table(PAGE, "edit of own neurons", *heads, *controls)
    assert [line[0] for line in body] == ["suppress", "amplify"]
    for edit, *said in body:
        kinds = ("own", "negated", "other", "unrelated", "random")
        for kind, text in zip(kinds, said, strict=True):
            assert_said(text, triple(where(rows, edit=edit, kind=kind)))


MEASURES = {
    "Spearman's correlation, all": "Spearman, all neurons",
    "Spearman's correlation, candidates": "Spearman, candidates",
    "ten best in common": "overlap at 10",
    "as many as are coarse in common": "overlap at as many as are coarse",
    "of ablation's ten best, outside the candidates": (
        "share of ablation's ten outside the candidates"
    ),
}


def test_exhaustive_ablation() -> None:
    rows = only("exhaustive_ablation")
    body = table(PAGE, "of a prompt's neurons", "all ablated", "mean", "candidates alone")
    assert [line[0] for line in body] == [*MEASURES]
    assert [*MEASURES.values()] == [row["measure"] for row in rows]
    for (_, every, mean, few), row in zip(body, rows, strict=True):
        percent = 1 if "Spearman" in row["measure"] else 100
        assert_said(every, [percent * (row[key] or 0) for key in ("median", "from", "to")])
        assert_said(mean, [percent * row["mean"]])
        if row["median_of_candidates"] is not None:
            assert_said(few, [percent * row["median_of_candidates"]])


def test_no_correlation_and_no_difference_are_those_that_are_not_significant() -> None:
    agreement = cells("questions")["ablation beside integrated gradients"]
    low, high = triple(where(agreement, attribution="activation", measure="spearman"))[1:]
    assert low < 0 < high
    assert {row["layer"]: row["p"] > 0.05 for row in only("value_vectors")} == {
        layer: layer == "0" for layer in ("all", "0", "1", "2", "3", "4", "5")
    }


def test_the_candidates_miss_little() -> None:
    ten = where(only("exhaustive_ablation"), measure="overlap at 10")
    assert "too high by half a point or so" in TEXT
    assert 0.3 < 100 * (ten["mean_of_candidates"] - ten["mean"]) < 0.7
    ten = where(stored("exhaustive_ablation")["testbed"]["rows"], measure="overlap at 10")
    assert f"{ten['mean']:.3f}" == f"{ten['mean_of_candidates']:.3f}"


def test_best_neurons_matter_more_in_each_concept() -> None:
    """The test's p is the least that it can be for so many concepts: all have the same sign."""
    rows = [row for row in cells("questions")["number of neurons"] if row["source"] == "top"]
    for row in rows:
        least = wilcoxon(range(1, row["concepts"] + 1)).pvalue
        assert row["p"] == least


def test_concepts_with_both_similarities() -> None:
    row = cells("questions")["consistency"][1]
    assert row["larger_within"] == row["concepts_between"]
