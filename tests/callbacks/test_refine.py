"""Coarse and refined neurons of a study, counted again by hand from its kept scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from kn_lightning.callbacks.refine import RefineCallback
from kn_lightning.data.study import Pack
from kn_lightning.errors import InputError
from kn_lightning.outcome import Outcome
from kn_lightning.schema import EncodedGroup, EncodedPrompt

from .commands import command, table
from .conftest import GROUPS, Study


def kept_scores(run: Path) -> dict[str, torch.Tensor]:
    """All scores that a run kept, by concept."""
    scores: dict[str, torch.Tensor] = {}
    for file in (run / "scores").iterdir():
        scores |= load_file(file)
    return scores


def coarse_by_hand(scores: torch.Tensor, threshold: float) -> list[tuple[int, int]]:
    """(layer, neuron) of one prompt's coarse neurons."""
    largest = scores.max().item()
    return [
        (layer, neuron)
        for layer, row in enumerate(scores.tolist())
        for neuron, score in enumerate(row)
        if largest > 0 and score > threshold * largest
    ]


def refined_by_hand(
    scores: torch.Tensor, threshold: float, share: float, inclusive: bool = True
) -> dict[tuple[int, int], tuple[float, float]]:
    """Share and mean score of each refined neuron of a concept's prompts ``[B, L, I]``."""
    counts = Counter(neuron for prompt in scores for neuron in coarse_by_hand(prompt, threshold))
    n = len(scores)
    return {
        (layer, neuron): (count / n, sum(s[layer][neuron] for s in scores.tolist()) / n)
        for (layer, neuron), count in counts.items()
        if (count >= share * n if inclusive else count > share * n)
    }


@pytest.mark.parametrize(
    ("threshold", "share", "inclusive", "holdout"),
    [
        (0.2, 0.5, True, 0),
        (0.2, 0.5, False, 0),
        (0.2, 0.5, True, 0.4),
        (0.6, 1.0, True, 0),
        (0.05, 0.2, False, 0.5),
    ],
)
def test_neurons_are_those_counted_by_hand_in_the_prompts_not_held_out(
    study: Study, threshold: float, share: float, inclusive: bool, holdout: float
) -> None:
    flags = ("--refine.threshold", threshold, "--refine.share", share)
    flags += ("--refine.inclusive", str(inclusive).lower(), "--edit.holdout", holdout)
    run = study(*flags, "--write.scores", "true")
    scores = kept_scores(run)
    held_out: dict[str, set[int]] = {concept: set() for concept in GROUPS}
    if holdout:
        for row in table(run, "edits"):
            concept, _, number = str(row["prompt_id"]).partition("/")
            # Edits are measured on what is held out; a single prompt serves for both.
            if row["prompt_kind"] == "related" and len(GROUPS[concept]) > 1:
                held_out[concept].add(int(number))
        assert any(held_out.values())
    found: dict[str, dict[tuple[int, int], tuple[float, float]]] = {c: {} for c in GROUPS}
    for row in table(run, "neurons"):
        key = (cast("int", row["layer"]), cast("int", row["neuron"]))
        values = (cast("float", row["share"]), cast("float", row["score"]))
        found[str(row["concept"])][key] = values
    assert any(found.values())
    for concept in GROUPS:
        used = [i for i in range(len(GROUPS[concept])) if i not in held_out[concept]]
        expected = refined_by_hand(scores[concept][used], threshold, share, inclusive)
        assert found[concept].keys() == expected.keys(), concept
        for key, values in expected.items():
            assert found[concept][key] == pytest.approx(values, rel=1e-5, abs=1e-9)


def test_coarse_neurons_of_every_prompt_are_those_found_by_hand(study: Study) -> None:
    # Those of held-out prompts as well: they are results of the prompt, not of the refinement.
    run = study("--edit.holdout", 0.4, "--write.scores", "true")
    scores = kept_scores(run)
    found: dict[str, dict[tuple[int, int], float]] = {}
    for row in table(run, "coarse"):
        key = (cast("int", row["layer"]), cast("int", row["neuron"]))
        found.setdefault(str(row["prompt_id"]), {})[key] = cast("float", row["score"])
    for concept, prompts in GROUPS.items():
        for number in range(len(prompts)):
            own = scores[concept][number]
            expected = {key: own[key].item() for key in coarse_by_hand(own, 0.2)}
            assert found.get(f"{concept}/{number}", {}) == expected


def planted(*scores: list[float]) -> Outcome:
    """One concept, a prompt for each row of scores, one layer."""
    prompts = tuple(
        EncodedPrompt(f"cat/{i}", "cat", "", None, (1,), (0,), (0,)) for i in range(len(scores))
    )
    attribution = SimpleNamespace(scores=torch.tensor(scores)[:, None])
    return Outcome(Pack(0, (EncodedGroup("cat", None, prompts),)), cast("Any", attribution))


def refined(callback: RefineCallback, outcome: Outcome) -> list[int]:
    """Neurons of the only layer."""
    callback.on_predict_batch_end(cast("Any", None), cast("Any", None), outcome)
    return [neuron for _, neuron in outcome.neurons(0)]


def test_half_of_the_prompts_is_enough_or_not() -> None:
    # Neuron 0 is coarse in 4 of 4 prompts, 1 in 2, 2 in 1, 3 in none.
    scores = [[1, 0.5, 0.1, 0.2], [1, 0.5, 0.1, 0], [1, 0.1, 0.21, 0], [1, 0.1, 0.2, -5]]
    assert refined(RefineCallback(0.2, 0.5, inclusive=True), planted(*scores)) == [0, 1]
    assert refined(RefineCallback(0.2, 0.5, inclusive=False), planted(*scores)) == [0]
    assert refined(RefineCallback(0.2, 0.25, inclusive=True), planted(*scores)) == [0, 1, 2]
    assert refined(RefineCallback(0.2, 1.0, inclusive=False), planted(*scores)) == []


def test_prompts_without_a_positive_score_count_but_have_no_coarse_neuron() -> None:
    outcome = planted([-1, -0.1, -3], [0, 0, 0], [1, 0, 0])
    assert refined(RefineCallback(0.2, 0.5), outcome) == []
    assert outcome.coarse is not None
    assert outcome.coarse.prompt.tolist() == [2]
    assert refined(RefineCallback(0.2, 1 / 3), planted([-1, -0.1, -3], [0, 0, 0], [1, 0, 0])) == [0]


@pytest.mark.parametrize(
    "settings", [{"threshold": 0.0}, {"threshold": 1.0}, {"share": 0.0}, {"share": 1.1}]
)
def test_settings_that_make_no_sense_are_refused_with_their_value(settings: dict[str, Any]) -> None:
    ((name, value),) = settings.items()
    with pytest.raises(InputError, match=f"refine.{name} {value}"):
        RefineCallback(**settings)


def test_a_wanted_size_moves_each_concepts_share() -> None:
    # Neurons 0 and 1 are coarse in 4 of 4 prompts, 2 in 3, 3 in 2.
    scores = [[1, 0.9, 0.5, 0.5], [1, 0.9, 0.5, 0.5], [1, 0.9, 0.5, 0], [1, 0.9, 0, 0]]
    assert refined(RefineCallback(share=0.7), planted(*scores)) == [0, 1, 2]
    assert refined(RefineCallback(share=0.7, size=(1, 2)), planted(*scores)) == [0, 1]
    assert refined(RefineCallback(share=0.7, size=(3, 5)), planted(*scores)) == [0, 1, 2]
    assert refined(RefineCallback(share=0.7, size=(4, 5)), planted(*scores)) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [(0, 5), (5, 2), (-1, -1)])
def test_a_size_that_makes_no_sense_is_refused_with_its_value(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=rf"refine\.size \[{size[0]}, {size[1]}\]"):
        RefineCallback(size=size)


def test_settings_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "neurons.json").write_text("{}")
    with pytest.raises(InputError, match=r"refine\.size \[2, 5\]: refine\.neurons gives them"):
        RefineCallback(size=(2, 5), neurons=tmp_path / "neurons.json")
    with pytest.raises(
        InputError, match=r"refine\.facts .*neurons\.json: it needs refine\.neurons"
    ):
        RefineCallback(facts=tmp_path / "neurons.json")


def test_given_neurons_are_edited_whatever_refinement_would_find(
    study: Study, tmp_path: Path
) -> None:
    first = study("--refine.threshold", 0.4)
    file = tmp_path / "neurons.json"
    done = command("analyze.py", "neurons", first, file)
    assert (done.code, done.out) == (0, f"neurons: {file}\n")
    again = study("--refine.threshold", 0.1, "--refine.share", 1.0, "--refine.neurons", file)
    own = study("--refine.threshold", 0.1, "--refine.share", 1.0)

    def neurons(run: Path) -> list[tuple[object, ...]]:
        return [(row["concept"], row["layer"], row["neuron"]) for row in table(run, "neurons")]

    assert len(neurons(first)) > 10
    assert neurons(again) == neurons(first) != neurons(own)
    assert table(again, "edits") == table(first, "edits") != table(own, "edits")
    # What is said of them is this study's: with a lower threshold more prompts find them coarse.
    shares = [
        {
            (row["concept"], row["layer"], row["neuron"]): row["share"]
            for row in table(run, "neurons")
        }
        for run in (first, again)
    ]
    assert all(shares[1][key] >= share for key, share in shares[0].items())
    assert shares[0] != shares[1]
    assert [row["score"] for row in table(again, "neurons")] == pytest.approx(
        [row["score"] for row in table(first, "neurons")]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"puppy": None}, "refine.neurons has no 'puppy'"),
        ({"puppy": [[0, 1], [3, 0]]}, "'puppy': [3, 0]: the encoder's layers are 0 to 2"),
        ({"puppy": [[2, 24]]}, "'puppy': [2, 24]: the encoder's layers are 0 to 2, their neurons"),
        ({"puppy": [[2, -1]]}, "neurons.json: 'puppy': [2, -1] is no pair"),
    ],
)
def test_neurons_that_do_not_fit_are_refused_before_anything_is_written(
    change: dict[str, Any],
    message: str,
    tiny_folder: Callable[[str], Path],
    prompt_file: Path,
    tmp_path: Path,
) -> None:
    given = {concept: [[2, 23]] for concept in GROUPS} | {"zebra": [[99, 99]]} | change
    file = tmp_path / "neurons.json"
    file.write_text(json.dumps({c: pairs for c, pairs in given.items() if pairs is not None}))
    done = command(
        "analyze.py",
        *("--model.encoder", tiny_folder("bert"), "--run_dir", tmp_path / "run"),
        *("--data", "JsonlPrompts", "--data.path", prompt_file, "--refine.neurons", file),
    )
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
