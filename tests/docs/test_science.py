"""The numbers of docs/science.md are those that the benchmarks keep, rounded as it has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from callbacks.commands import REPOSITORY

PAGE = (REPOSITORY / "docs" / "science.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

Row = dict[str, Any]


def cells(name: str) -> dict[str, list[Row]]:
    """Rows of the encoder that the page is about, by the question behind the cell's name."""
    path = REPOSITORY / "benchmarks" / "results" / f"{name}.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    return {
        cell.rpartition(": ")[2]: stored["rows"]
        for cell, stored in found.items()
        if cell.startswith("minilm-mlm")
    }


def only(name: str) -> list[Row]:
    """Rows of a result of one cell."""
    (rows,) = cells(name).values()
    return rows


def where(rows: Sequence[Row], **keys: object) -> Row:
    """The row with these values."""
    (row,) = [row for row in rows if all(row[key] == value for key, value in keys.items())]
    return row


def triple(row: Row, of: str = "median", times: float = 100) -> list[float]:
    """A value with its interval, in percent unless told."""
    return [times * row[key] for key in (of, "from", "to")]


def assert_said(said: str, values: Sequence[float]) -> None:
    """The numbers of a text are the first values, at the decimals that it gives them."""
    found = NUMBER.findall(re.sub(r"(?<=\d),(?=\d{3})", "", said.replace("−", "-")))
    assert 0 < len(found) <= len(values), said
    for number, value in zip(found, values, strict=False):
        decimals = len(number.partition(".")[2])
        if "<" in said:
            assert value < float(number), said
        else:
            assert float(number) == pytest.approx(float(f"{value:.{decimals}f}")), (said, values)


def table(head: str) -> list[list[str]]:
    """Cells of the table whose first head it is, row by row."""
    (block,) = re.findall(
        rf"^\| {re.escape(head)} \|.*\n\|[ :|-]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE
    )
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]


def test_doses() -> None:
    rows = cells("questions")["doses"]
    body = table("factor")
    assert [float(line[0]) for line in body] == [0, 0.5, 1.5, 2, 3]
    for factor, *said in body:
        for kind, text in zip(("own", "other", "random", "activation"), said, strict=True):
            assert_said(text, triple(where(rows, kind=kind, factor=float(factor))))


def test_number_of_neurons() -> None:
    rows = cells("questions")["number of neurons"]
    body = table("neurons")
    assert [int(line[0]) for line in body] == [1, 2, 5, 10, 20, 50]
    for n, *said in body:
        for source, text in zip(("top", "top_random"), said, strict=True):
            assert_said(text, triple(where(rows, neurons=int(n), source=source)))


def test_negations() -> None:
    rows = only("negated_prompts")
    body = table("edit of own neurons")
    assert [line[0] for line in body] == ["suppress", "amplify"]
    for edit, *said in body:
        kinds = ("own", "negated", "other", "unrelated", "random")
        for kind, text in zip(kinds, said, strict=True):
            assert_said(text, triple(where(rows, edit=edit, kind=kind)))


def test_pairs() -> None:
    rows, names = only("shared_neurons"), {"… by": "synonyms by", "… without": "synonyms without"}
    body = table("pairs")
    assert len(body) == len(rows)
    for (name, *said), row in zip(body, rows, strict=True):
        for short, long in names.items():
            name = name.replace(short, long)
        assert row["pairs"].startswith(name)
        values = [[row["n"]], triple(row, "mean", 1), [row["permuted"]], [row["times"]], [row["p"]]]
        for text, value in zip(said, values, strict=True):
            assert_said(text, value)


def test_exhaustive_ablation() -> None:
    rows = only("exhaustive_ablation")
    body = table("of a prompt's neurons")
    assert len(body) == len(rows)
    for (_, every, mean, few), row in zip(body, rows, strict=True):
        percent = 1 if "Spearman" in row["measure"] else 100
        assert_said(every, [percent * (row[key] or 0) for key in ("median", "from", "to")])
        assert_said(mean, [percent * row["mean"]])
        if row["median_of_candidates"] is not None:
            assert_said(few, [percent * row["median_of_candidates"]])


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
    """How much more the edit does where the word is denied, in points; either sign is a fall."""

    def found() -> list[float]:
        row = where(only("negated_prompts"), edit=edit, kind="negated")
        keys = ("own_less_this", "difference_from", "difference_to")
        middle, *ends = (100 * abs(row[key]) for key in keys)
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
        (r"there is no difference \((\S+ times \[.*?\])\)", promoted("times_higher", "0")),
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
        (r"\(pairs of a concept: (\S+ points \[.*?\]) under", denied("suppress")),
        (r"under suppression, (\S+ \[.*?\]) under amplification", denied("amplify")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_of_the_text(claim: str, values: Callable[[], list[float]]) -> None:
    (said,) = re.findall(claim, TEXT)
    assert_said(said, values())
