"""Summary → the sentences of what was found."""

from __future__ import annotations

from typing import Any

import pytest

from kn_lightning.report.wording import findings

from .runs import plain

Numbers = dict[str, Any]


def test_consistency_is_said_beside_chance(rich_numbers: Numbers) -> None:
    (text,) = (text for text in findings(rich_numbers) if text.startswith("Two wordings"))
    found = rich_numbers["consistency"]
    assert f"{found['mean']:.2f} [{found['mean_ci'][0]:.2f}, " in text
    assert text.endswith(f"prompts of two concepts {found['random_expectation']:.2f}.")


@pytest.mark.parametrize("part", [None, 0, 0.5])
def test_prompts_that_were_held_out_are_said_to_be_so(numbers: Numbers, part: float | None) -> None:
    numbers["environment"]["study"]["holdout"] = part
    text = plain(" ".join(findings(numbers)))
    assert ("50.0 % of each concept's prompts, which were held out" in text) is bool(part)
