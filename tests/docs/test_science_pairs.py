"""What docs/science.md says of synonyms, and of facts asked from both ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kn_lightning.report.pairing import DRAWS

from .said import assert_said, claimed, table, where
from .test_science import PAGE, TEXT, beside, cells, only, triple


def test_pairs() -> None:
    rows, names = only("shared_neurons"), {"… by": "synonyms by", "… without": "synonyms without"}
    body = table(PAGE, "pairs", "n", "mean", "permuted", "times", "p")
    assert len(body) == len(rows)
    for (name, *said), row in zip(body, rows, strict=True):
        for short, long in names.items():
            name = name.replace(short, long)
        assert row["pairs"].startswith(name)
        values = [[row["n"]], triple(row, "mean", 1), [row["permuted"]], [row["times"]], [row["p"]]]
        for text, value in zip(said, values, strict=True):
            assert_said(text, value)


def test_most_alike() -> None:
    kept = beside("shared_neurons")["synonyms"]["most_alike"]
    first, *others = (f"{one['a']} and {one['b']}" for one in kept)
    assert f"the most alike after {first} are {', '.join(others[:4])}." in TEXT


def concepts_of_both_ends() -> list[float]:
    """Asked for, and of one token with subjects and with objects masked."""
    kept = beside("shared_neurons")
    asked = {
        kept[end]["concepts"]
        + sum(
            one["concepts"]
            for one in kept[end]["skipped_by_reason"]
            if one["reason"].startswith("the answer is")
        )
        for end in ("subject", "object")
    }
    (both,) = asked
    return [both, kept["subject"]["concepts"], kept["object"]["concepts"]]


def coarse_agreement() -> list[float]:
    """Within a concept, between synonyms and between any two concepts."""
    within = cells("questions")["consistency"][0]["within"]
    row = where(only("shared_neurons"), pairs="synonyms, coarse neurons of their prompts")
    return [within, row["mean"], beside("shared_neurons")["subject"]["jaccard_between_concepts"]]


def both_ends() -> list[float]:
    kept = beside("shared_neurons")
    row = where(only("shared_neurons"), pairs="sentences, permuted within the relation")
    ends = [kept[end]["jaccard_between_concepts"] for end in ("subject", "object")]
    return [row["mean"], *ends]


@pytest.mark.parametrize(
    ("claim", "values"),
    [
        (r"partners permuted (\S+) times", lambda: [DRAWS]),
        (
            r"and of (\d+) concepts, of which (\d+) \(subjects\) and (\d+) \(objects\)",
            concepts_of_both_ends,
        ),
        (
            r"index of knowledge neurons (\w+) that of the same words",
            lambda: [where(only("shared_neurons"), pairs="synonyms, knowledge neurons")["times"]],
        ),
        (
            r"but share few: (\d+) in the median",
            lambda: [beside("shared_neurons")["synonyms"]["shared_median"]],
        ),
        (
            r"agree by (\S+) within a concept, by (\S+) between synonyms, by (\S+) between any",
            coarse_agreement,
        ),
        (
            r"(\d+) pairs even have a prompt in common",
            lambda: [beside("shared_neurons")["synonyms"]["pairs_with_a_prompt_in_common"]],
        ),
        (
            r"but (\S+) is what prompts of two different concepts of one run share "
            r"\((\S+) and (\S+)\)",
            both_ends,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_number_of_the_text(claim: str, values: Callable[[], list[float]]) -> None:
    assert_said(claimed(PAGE, claim), values())
