"""Summary → the sentences of what was found."""

from __future__ import annotations

from typing import Any

import pytest

from kn_lightning.report.captions import captions
from kn_lightning.report.wording import findings

from .runs import plain

Numbers = dict[str, Any]


def test_consistency_is_said_beside_chance(rich_numbers: Numbers) -> None:
    (text,) = (text for text in findings(rich_numbers) if text.startswith("Two wordings"))
    found = rich_numbers["consistency"]
    assert f"{found['mean']:.2f} [{found['mean_ci'][0]:.2f}, " in text
    assert f"prompts of two concepts {found['random_expectation']:.2f}." in text
    found = rich_numbers["similarity"]
    low, high = found["mean_ci"]
    assert f"n-sample similarity of {found['mean']:.2f} [{low:.2f}, {high:.2f}]" in text
    low, high = found["between_mean_ci"]
    assert text.endswith(
        f"it is {found['between_mean']:.2f} [{low:.2f}, {high:.2f}] (65 concepts)."
    )


def test_nothing_is_said_of_scores_where_the_run_has_no_similarity(rich_numbers: Numbers) -> None:
    (text,) = (text for text in findings(rich_numbers | {"similarity": None}) if "wordings" in text)
    assert "n-sample" not in text
    alone = rich_numbers["similarity"] | {"n_between": 0}
    (text,) = (
        text for text in findings(rich_numbers | {"similarity": alone}) if "n-sample" in text
    )
    assert text.endswith("concepts).")


@pytest.mark.parametrize("part", [None, 0, 0.5])
def test_prompts_that_were_held_out_are_said_to_be_so(numbers: Numbers, part: float | None) -> None:
    numbers["environment"]["study"]["holdout"] = part
    text = plain(" ".join(findings(numbers)))
    assert ("50.0 % of each concept's prompts, which were held out" in text) is bool(part)


def test_bars_of_all_concepts_are_not_said_to_be_around_one(
    numbers: Numbers, rich_numbers: Numbers
) -> None:
    few, many = (captions(found)["suppress_concepts"] for found in (numbers, rich_numbers))
    assert "kitten" not in few.title + few.reading
    assert few.reading.startswith("All concepts in dictionary order")
    assert "15 concepts around “kitten”" in plain(many.title)
