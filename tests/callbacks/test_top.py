"""The curve by number of best neurons: every row recomputed by a hook written here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from kn_lightning.core.edits import matched_neurons, seeded_generator
from kn_lightning.core.neurons import best_neurons
from kn_lightning.schema import Neuron

from .commands import command, table
from .conftest import GROUPS, Study
from .test_edit import Recomputed, texts_of

TOP = ("--edit.top", "[5,1]", "--edit.control_seeds", 2, "--write.scores", "true")
FEW = ("--edit.factors", "[2]", "--edit.others", 0, "--edit.controls", "[]")


@pytest.fixture(scope="module")
def run(study: Study) -> Path:
    """A study with the curve, and little else."""
    return study(*TOP, *FEW)


def scores_of(run: Path) -> dict[str, torch.Tensor]:
    """All scores by concept, ``[B, L, I]``."""
    found: dict[str, torch.Tensor] = {}
    for path in sorted((run / "scores").iterdir()):
        found |= load_file(path)
    return found


def rows_of(run: Path) -> list[dict[str, Any]]:
    """The rows of the curve."""
    return [row for row in table(run, "edits") if str(row["neurons"]).startswith("top")]


def neurons_of(name: str, concept: str, scores: torch.Tensor) -> list[Neuron]:
    """The neurons of a name in the table."""
    source, k, *draw = name.split(":")
    best = best_neurons(scores, 5)
    if source == "top_random":
        best = matched_neurons(best, 24, seeded_generator(0, "top", concept, int(draw[0])))
    return best[: int(k)]


def test_every_row_is_what_a_hand_written_hook_gives(
    run: Path, tiny_folder: Callable[[str], Path]
) -> None:
    recomputed, texts, scores = Recomputed(tiny_folder("bert")), texts_of(run), scores_of(run)
    for row in rows_of(run):
        text, answer = texts[row["prompt_id"]]
        neurons = neurons_of(row["neurons"], row["concept"], scores[row["concept"]])
        assert (row["edit"], row["prompt_kind"]) == ("suppress", "related")
        assert row["n_neurons"] == len(neurons) == int(row["neurons"].split(":")[1])
        recomputed.check(row, "before", recomputed.logits(text, [], 1.0), answer)
        recomputed.check(row, "after", recomputed.logits(text, neurons, 0.0), answer)


def test_every_prompt_has_each_number_once_and_each_draw(run: Path) -> None:
    names = [
        f"{source}:{k}{d}" for k in (1, 5) for source, d in (("top", ""), ("top_random", ":0"))
    ]
    names += ["top_random:1:1", "top_random:5:1"]
    found = Counter((row["prompt_id"], row["neurons"]) for row in rows_of(run))
    prompts = {f"{concept}/{i}" for concept, texts in GROUPS.items() for i in range(len(texts))}
    assert found == {(prompt, name): 1 for prompt in prompts for name in names}


def test_without_the_flag_nothing_of_it_is_there_and_the_rest_is_the_same(
    run: Path, study: Study
) -> None:
    def others(run: Path) -> dict[tuple[Any, ...], float]:
        keys = ("prompt_id", "concept", "prompt_kind", "edit", "neurons")
        rows: list[dict[str, Any]] = table(run, "edits")
        rows = [row for row in rows if not row["neurons"].startswith("top")]
        return {tuple(row[key] for key in keys): row["probability_after"] for row in rows}

    plain = study("--edit.control_seeds", 2, *FEW)
    assert rows_of(plain) == []
    assert others(run) == pytest.approx(others(plain), rel=1e-4)


def test_best_neurons_go_by_their_mean_and_then_by_their_place() -> None:
    scores = torch.zeros(2, 2, 3)
    scores[0, 1, 2], scores[1, 1, 2] = 0.6, 0.2
    scores[0, 0, 1] = scores[1, 1, 0] = 1.0
    scores[:, 0, 0] = -1
    expected = [Neuron(0, 1), Neuron(1, 0), Neuron(1, 2), Neuron(0, 2), Neuron(1, 1)]
    assert best_neurons(scores, 5) == expected
    assert best_neurons(scores, 1) == expected[:1]


def test_random_neurons_match_the_layers_of_every_beginning() -> None:
    best = [Neuron(1, 3), Neuron(0, 2), Neuron(1, 0), Neuron(1, 1), Neuron(3, 5)]
    seen = defaultdict(set)
    for seed in range(200):
        drawn = matched_neurons(best, 8, seeded_generator(seed))
        assert [neuron.layer for neuron in drawn] == [neuron.layer for neuron in best]
        assert len({*drawn, *best}) == 2 * len(best)
        for place, neuron in enumerate(drawn):
            seen[place].add(neuron.neuron)
    assert seen[0] == {2, 4, 5, 6, 7}


def test_more_neurons_than_half_a_layer_are_refused_before_anything_is_written(
    tmp_path: Path, tiny_folder: Callable[[str], Path], prompt_file: Path
) -> None:
    flags = ("--model.encoder", tiny_folder("bert"), "--data", "JsonlPrompts")
    flags += ("--data.path", prompt_file, "--edit.top", "[1,13]", "--run_dir", tmp_path / "run")
    done = command("analyze.py", *flags)
    assert done.code == 2
    assert done.err == (
        "error: edit.top [1, 13]: a layer has 24 neurons; give numbers up to its half, 12, so that "
        "as many random ones are left\n"
    )
    assert not (tmp_path / "run").exists()
