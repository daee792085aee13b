"""Two planted runs of the same sentences → what their prompts share, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kn_lightning.errors import InputError
from kn_lightning.report.symmetry import symmetry
from kn_lightning.report.tables import RunTables, run_tables

from .runs import Rows, WriteRun, near, planted_tables, prompt_row
from .test_consistency import Sets, coarse_rows, jaccard

Make = Callable[..., RunTables]


@pytest.fixture
def make(make_run: WriteRun, environment: dict[str, Any]) -> Make:
    """``make(prompts, coarse, name, ENVIRONMENT's changes)``: tables of a run folder."""

    def made(prompts: Rows, coarse: Sets, name: str, **changes: dict[str, Any]) -> RunTables:
        own = copy.deepcopy(environment)
        for section, values in changes.items():
            own[section] |= values
        tables = planted_tables() | {"prompts": prompts, "coarse": coarse_rows(coarse)}
        return run_tables(make_run(tables, own, name))

    return made


def both_ways(make: Make, n: int, share: Callable[[int], tuple[Any, Any]]) -> Any:
    """So many sentences of two relations; ``share`` gives the two sets of each."""
    subjects, objects = [], []
    coarse_a: Sets = {}
    coarse_b: Sets = {}
    for i in range(n):
        relation = ("IsA", "HasA")[i % 2]
        # The same prompt ids in both runs are other prompts.
        a, b = f"s{i // 2}/{i}", f"s{i // 2}/{n - i}"
        verb = ("is", "has")[i % 2]
        subjects.append(prompt_row(a, f"s{i}", prompt=f"[MASK] {verb} o{i}.", relation=relation))
        objects.append(prompt_row(b, f"o{i}", prompt=f"s{i} {verb} [MASK].", relation=relation))
        coarse_a[a], coarse_b[b] = share(i)
    return symmetry(make(subjects, coarse_a, "subjects"), make(objects[::-1], coarse_b, "objects"))


def test_planted_facts_in_the_same_neurons_are_found(make: Make) -> None:
    found = both_ways(make, 40, lambda i: ({(0, i), (1, 0)}, {(0, i), (2, 0)}))
    assert found.relation.n == found.template.n == 40
    assert found.relation.mean == pytest.approx(1 / 3)
    assert found.relation.p == found.template.p == 1e-4
    assert found.relation.mean_permuted < 0.05
    assert set(found.pairs["template"]) == {"[MASK] is [WORD].", "[MASK] has [WORD]."}


def test_what_all_sentences_of_a_relation_share_is_no_evidence(make: Make) -> None:
    found = both_ways(make, 40, lambda i: ({(0, i % 2), (1, i)}, {(0, i % 2), (2, i)}))
    assert found.relation.mean == pytest.approx(1 / 3)
    assert found.relation.mean_permuted == pytest.approx(1 / 3)
    assert found.relation.p == 1.0


def test_prompts_are_paired_by_the_filled_in_sentence(make: Make) -> None:
    a = [
        prompt_row("a/0", "A dog", prompt="[MASK]  can bark at A dog.", relation="CapableOf"),
        prompt_row("a/1", "cat", prompt="A [MASK] is a pet.", relation="IsA"),
        prompt_row("a/2", "cow", prompt="A [MASK] is big.", relation="IsA"),
        prompt_row("a/3", "hen", prompt="My [MASK] sings.", relation=None),
        prompt_row("a/4", "elk", prompt="My [MASK] runs.", relation=None),
    ]
    b = [
        prompt_row("b/0", "pet", prompt="a cat\u00a0is a [MASK].", relation="other"),
        prompt_row("b/1", "bark", prompt="a dog can [MASK] at a dog.", relation="other"),
        prompt_row("b/2", "cow", prompt="a [MASK] is big.", relation="IsA"),  # the same word masked
        prompt_row("b/3", "owl", prompt="A [MASK] flies.", relation="IsA"),
        prompt_row("b/4", "sings", prompt="my hen [MASK].", relation="IsA"),
        prompt_row("b/5", "my", prompt="[MASK] elk runs.", relation="IsA"),
    ]
    coarse_a = {"a/0": {(0, 1), (0, 2)}, "a/1": {(0, 3)}, "a/3": {(1, 1)}, "a/4": {(1, 2)}}
    coarse_b = {"b/0": {(0, 3)}, "b/1": {(0, 2), (0, 3)}, "b/4": {(1, 2)}, "b/5": {(1, 2)}}
    found = symmetry(make(a, coarse_a, "a"), make(b, coarse_b, "b"))
    rows = {row["concept_b"]: row for row in found.pairs.to_dict("records")}
    assert {*rows} == {"bark", "pet", "sings", "my"}
    assert rows["bark"]["template"] == "[MASK] can [WORD] at a dog."
    assert rows["pet"]["template"] == "a [MASK] is a [WORD]."
    assert rows["my"]["template"] == "[WORD] [MASK] runs."
    assert rows["bark"]["sentence"] == "a dog can bark at a dog."
    assert rows["pet"]["relation"] == "IsA"  # the first run's
    assert rows["bark"]["jaccard"] == near(jaccard(coarse_a["a/0"], coarse_b["b/1"]))
    assert [rows["bark"][name] for name in ("shared", "n_a", "n_b")] == [1, 2, 2]
    assert rows["pet"]["jaccard"] == 1
    # Alone in their relations; those without one are compared with each other.
    assert np.isnan(rows["pet"]["permuted"])
    assert found.relation.n == 2
    assert rows["my"]["permuted"] == near(1.0)  # both partners have the neuron
    assert rows["sings"]["permuted"] == 0
    assert found.template.n == 0


def test_runs_that_cannot_be_compared_are_refused(make: Make) -> None:
    a = [prompt_row("a/0", "cat", prompt="A [MASK] is a pet.")]
    b = [prompt_row("b/0", "pet", prompt="A cat is a [MASK].")]
    first = make(a, {}, "first")
    assert symmetry(first, make(b, {}, "fits")).relation.n == 0
    with pytest.raises(InputError, match=r"first and hashed: .* weights_sha256, 'abab.* 'ffff"):
        symmetry(first, make(b, {}, "hashed", encoder={"weights_sha256": "ff" * 32}))
    # Where one of them says no hash, names count.
    unhashed: dict[str, Any] = {"weights_sha256": None}
    assert symmetry(first, make(b, {}, "unhashed", encoder=unhashed)).relation.n == 0
    with pytest.raises(InputError, match="differ in id, 'tiny' and 'other'"):
        symmetry(first, make(b, {}, "named", encoder=unhashed | {"id": "other"}))
    with pytest.raises(InputError, match=r"threshold is 0\.2 and 0\.3"):
        symmetry(first, make(b, {}, "lower", study={"threshold": 0.3}))
    with pytest.raises(InputError, match="attribution is integrated_gradients and activation"):
        symmetry(first, make(b, {}, "activation", study={"attribution": "activation"}))
    with pytest.raises(InputError, match="no sentence; give two runs"):
        symmetry(first, make([prompt_row("c/0", "owl")], {}, "none"))
    with pytest.raises(InputError, match="only sentences with the same word masked"):
        symmetry(first, first)
