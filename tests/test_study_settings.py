"""What settings of a study change in its results, and what they leave as it is."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from callbacks.commands import (
    analyze,
    by_key,
    real_command,
    table,
)
from safetensors.torch import load_file
from test_analyze import COLUMNS, SMALL


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small study as it is by default."""
    return analyze(tmp_path_factory.mktemp("study") / "run", *SMALL)


def borderline(run: Path, other: Path) -> set[object]:
    """Prompts of which a score lies within 1e-5 of the border of coarse neurons."""
    near = set()
    largest = {row["prompt_id"]: row["max_score"] for row in table(run, "prompts")}
    sets = [
        by_key(table(folder, "coarse"), "prompt_id", "layer", "neuron") for folder in (run, other)
    ]
    for key in sets[0].keys() ^ sets[1].keys():
        score = (sets[0].get(key) or sets[1][key])["score"]
        assert score == pytest.approx(0.2 * largest[key[0]], abs=1e-5)
        near.add(key[0])
    return near


def test_packing_changes_results_by_rounding_alone(run_dir: Path, tmp_path: Path) -> None:
    packed = analyze(tmp_path / "run", *SMALL, "--data.pack_tokens", 100)
    theirs = by_key(table(run_dir, "prompts"), "prompt_id")
    ours = by_key(table(packed, "prompts"), "prompt_id")
    assert list(ours) == list(theirs)
    for key, row in ours.items():
        assert row["probability"] == pytest.approx(theirs[key]["probability"], abs=1e-5)
        assert row["argmax"] == theirs[key]["argmax"]
    near = {str(prompt_id).split("/")[0] for prompt_id in borderline(run_dir, packed)}
    keys = ("concept", "layer", "neuron")
    sure = [
        {key for key in by_key(table(folder, "neurons"), *keys) if key[0] not in near}
        for folder in (run_dir, packed)
    ]
    assert sure[0] == sure[1]
    keys = ("concept", "prompt_id", "prompt_kind", "edit", "neurons")
    theirs, ours = (by_key(table(folder, "edits"), *keys) for folder in (run_dir, packed))
    assert list(ours) == list(theirs)
    for key, row in ours.items():
        if key[0] not in near:
            for column in ("probability_before", "probability_after"):
                assert row[column] == pytest.approx(theirs[key][column], abs=1e-5)


@pytest.fixture(scope="module")
def ablated() -> Callable[[str, str, int, int], float]:
    """P of an answer with one neuron at 0, by transformers and a hook written here."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    from kn_lightning.encoders.loading import EMBEDDED_FOLDER

    model = AutoModelForMaskedLM.from_pretrained(EMBEDDED_FOLDER).eval()
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)

    def probability(text: str, answer: str, layer: int, neuron: int) -> float:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        position = ids[0].tolist().index(tokenizer.mask_token_id)

        def zero(_: object, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            changed = args[0].clone()
            changed[0, position, neuron] = 0
            return (changed,)

        hook = model.bert.encoder.layer[layer].output.dense.register_forward_pre_hook(zero)
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, position]
        hook.remove()
        return float(logits.softmax(-1)[tokenizer.convert_tokens_to_ids(answer)])

    return probability


def test_path_neuron_scores_are_the_exact_effects_of_single_neurons(
    run_dir: Path, tmp_path: Path, ablated: Callable[[str, str, int, int], float]
) -> None:
    flags = ("--data.max_groups", 1, "--model.path", "neuron", "--model.candidates", 9)
    run = analyze(tmp_path / "run", *flags)
    prompts = by_key(table(run, "prompts"), "prompt_id")
    coarse = table(run, "coarse")
    assert 0 < len(coarse) <= 9 * len(prompts)
    for row in coarse[::7]:
        prompt = prompts[(row["prompt_id"],)]
        after = ablated(str(prompt["prompt"]), str(prompt["concept"]), row["layer"], row["neuron"])
        assert row["score"] == pytest.approx(prompt["probability"] - after, abs=2e-6)
    layered = by_key(table(run_dir, "prompts"), "prompt_id")
    for key, prompt in prompts.items():
        assert prompt["evaluations"] == layered[key]["evaluations"] + 9


def test_holdout_measures_edits_on_half_of_the_prompts(tmp_path: Path) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--edit.holdout", 0.5)
    prompts: dict[object, set[object]] = {}
    for row in table(run, "prompts"):
        prompts.setdefault(row["concept"], set()).add(row["prompt_id"])
    for concept, own in prompts.items():
        measured = {
            row["prompt_id"]
            for row in table(run, "edits")
            if row["concept"] == concept and row["prompt_kind"] == "related"
        }
        assert measured < own
        assert len(measured) == len(own) / 2
        refined = own - measured
        shares = [row["share"] for row in table(run, "neurons") if row["concept"] == concept]
        for share in shares:  # counted in the other half alone
            assert share * len(refined) == pytest.approx(round(share * len(refined)), abs=1e-5)
            assert share >= 0.5


def test_kept_scores_are_those_of_the_tables(tmp_path: Path) -> None:
    flags = ("--data.max_groups", 3, "--data.pack_tokens", 200, "--write.scores", "true")
    run = analyze(tmp_path / "run", *flags)
    scores: dict[str, torch.Tensor] = {}
    for file in sorted((run / "scores").iterdir()):
        scores |= load_file(file)
    prompts = table(run, "prompts")
    assert sum(map(len, scores.values())) == len(prompts)
    sums = by_key(table(run, "completeness"), "prompt_id", "layer")
    seen: dict[str, int] = {}
    for prompt in prompts:
        concept = str(prompt["concept"])
        own = scores[concept][seen.get(concept, 0)]
        seen[concept] = seen.get(concept, 0) + 1
        assert own.shape == (4, 512)
        assert float(own.max()) == pytest.approx(prompt["max_score"], rel=1e-6)
        for layer in range(4):
            row = sums[prompt["prompt_id"], layer]
            assert float(own[layer].sum()) == pytest.approx(
                row["total"] + row["residual"], abs=1e-6
            )


@pytest.mark.slow
def test_bf16_runs_and_keeps_probabilities_near_those_of_float32(
    run_dir: Path, tmp_path: Path
) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--trainer.precision", "bf16-mixed")
    exact = by_key(table(run_dir, "prompts"), "prompt_id")
    rows = table(run, "prompts")
    differences = [abs(r["probability"] - exact[(r["prompt_id"],)]["probability"]) for r in rows]
    assert 0 < max(differences) < 0.1  # another precision indeed, and not another answer
    assert all(math.isfinite(row["max_score"]) for row in rows)
    # What edits start from comes of passes of other sizes, which round another way in bf16.
    edits = table(run, "edits")
    assert all(0 <= row["probability_after"] <= 1 for row in edits)
    before = {
        row["prompt_id"]: row["probability_before"]
        for row in edits
        if row["prompt_kind"] == "related"
    }
    for row in rows:
        assert before[row["prompt_id"]] == pytest.approx(row["probability"], abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_whole_model_in_another_precision_runs(
    tmp_path: Path, run_dir: Path, precision: str
) -> None:
    run = analyze(tmp_path / "run", "--data.max_groups", 2, "--trainer.precision", precision)
    exact = by_key(table(run_dir, "prompts"), "prompt_id")
    for row in table(run, "prompts"):
        assert row["probability"] == pytest.approx(
            exact[(row["prompt_id"],)]["probability"], abs=1e-5 if precision == "64-true" else 0.15
        )
        assert row["evaluations"] <= 40  # rounding is no reason to climb to the last level


def two_ranks(run: Path, *arguments: object) -> Path:
    """A study on two processes."""
    flags = ("--trainer.devices", 2, "--trainer.accelerator", "cpu", "--trainer.strategy", "ddp")
    done = real_command("analyze.py", *flags, *arguments, "--run_dir", run)
    assert done.code == 0, done.err
    # The first rank alone draws the report.
    assert done.out.count("results: ") == 1
    assert "error: " not in done.err
    return run


@pytest.mark.slow
# One concept is one pack: the second rank has none.
@pytest.mark.parametrize("groups", [4, 1])
def test_two_ranks_give_what_one_device_gives(tmp_path: Path, groups: int) -> None:
    study = ("--data.max_groups", groups, "--data.pack_tokens", 350, "--refine.values", 3)
    one = analyze(tmp_path / "one", *study)
    prompts = table(one, "prompts")
    if groups > 1:  # more packs than one, of more concepts than one
        assert sum(row["n_tokens"] for row in prompts) > 350
        assert all(row["similarity_between"] is not None for row in prompts)
    two = two_ranks(tmp_path / "two", *study)
    for name in (*COLUMNS, "values"):
        assert table(two, name) == table(one, name), name
    assert json.loads((two / "environment.json").read_text())["devices"] == 2
