"""``configs/compat``: a whole study by our command equals the same study by other people's code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from callbacks.commands import Table, analyze, command, table, write_jsonl
from encoders.tiny import tiny_model
from knowledge_neurons import KnowledgeNeurons

from kn_lightning import load_encoder
from kn_lightning.neuron_json import read_neurons

SOLOMON = "[MASK] is the official language of the solomon islands"

GROUPS = {
    "kitten": [
        "[MASK] will grow up to be a cat.",
        "the young of a cat is a [MASK].",
        "a small cat was once a [MASK] in the barn.",
        "every [MASK] is a young animal",
    ],
    "paris": [
        "the capital of france is [MASK].",
        "[MASK] is the capital of france",
        "[MASK] is a large city on the river.",
        "the city of [MASK] is in france.",
        "every capital is a [MASK].",
    ],
    "english": [
        "the language of england is [MASK].",
        "[MASK] is the language of london",
        "england and london: [MASK].",
        "the word is [MASK].",
        "the [MASK] of london",
        "[MASK].",
    ],
}
"""Of words without a capital or a second piece: the package looks answers up as they stand."""


@dataclass(frozen=True)
class Preset:
    """What a config stands for, in the package's terms: ``evaluate.py``, ``pararel_evaluate.py``.

    ``measured`` prompts of a concept, from the first on, are edited.
    """

    threshold: float
    share: float
    measured: int | None


PRESETS = {
    "concept_neurons_code": Preset(0.2, 0.5, measured=1),
    "eleutherai": Preset(0.3, 0.3, measured=None),
}


def package(folder: Path) -> KnowledgeNeurons:
    """Their code on an encoder of its own."""
    encoder = load_encoder(folder)
    return KnowledgeNeurons(encoder.model, encoder.tokenizer, model_type="bert", device="cpu")


def their_neurons(
    theirs: KnowledgeNeurons, concept: str, prompts: list[str], preset: Preset
) -> list:
    """As both scripts call it."""
    return theirs.get_refined_neurons(
        prompts,
        concept,
        p=preset.share,
        batch_size=20,
        steps=20,
        coarse_adaptive_threshold=preset.threshold,
        quiet=True,
    )


def compare(run: Path, theirs: KnowledgeNeurons, preset: Preset, edits: Table) -> None:
    """All knowledge neurons of a run, and all probabilities, against the package's."""
    asked: dict[str, list[str]] = {}
    for row in table(run, "prompts"):
        asked.setdefault(str(row["concept"]), []).append(str(row["prompt"]))
    texts = {row["prompt_id"]: str(row["prompt"]) for row in table(run, "prompts")}
    found: dict[str, list[list[object]]] = {concept: [] for concept in asked}
    for row in table(run, "neurons"):
        found[str(row["concept"])].append([row["layer"], row["neuron"]])
    assert all(found.values())
    for concept, prompts in asked.items():
        neurons = their_neurons(theirs, concept.lower(), prompts, preset)
        assert sorted(neurons) == found[concept], concept
        measured = [
            (texts[r["prompt_id"]], r)
            for r in edits
            if r["concept"] == concept and r["prompt_kind"] == "related"
        ]
        count = len(prompts) if preset.measured is None else preset.measured
        assert len(measured) == 2 * count
        assert {text for text, _ in measured} == set(prompts[:count])
        for text, row in measured:
            check(theirs, text, concept.lower(), neurons, row)
        unrelated = [
            r for r in edits if r["concept"] == concept and r["prompt_kind"] == "unrelated"
        ]
        assert len(unrelated) >= 2
        if concept != "english":
            assert len(unrelated) == 2
            for row in unrelated:
                check(theirs, SOLOMON, "english", neurons, row)


def check(
    theirs: KnowledgeNeurons, prompt: str, answer: str, neurons: list, row: dict[str, object]
) -> None:
    """One edit of one prompt by both."""
    edit = {"suppress": theirs.suppress_knowledge, "amplify": theirs.enhance_knowledge}
    results, _ = edit[str(row["edit"])](prompt, answer, neurons, quiet=True)
    for when in ("before", "after"):
        assert row[f"probability_{when}"] == pytest.approx(results[when]["gt_prob"], rel=1e-5)
    assert row["n_neurons"] == len(neurons)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random BERT as transformers saves it."""
    path = tmp_path_factory.mktemp("bert")
    model, tokenizer = tiny_model("bert")
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module", params=PRESETS)
def preset_run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> tuple[Preset, Path]:
    """A study of the groups above with each config."""
    path = tmp_path_factory.mktemp("compat")
    file = write_jsonl(
        path / "groups.jsonl", *({"concept": c, "prompts": p} for c, p in GROUPS.items())
    )
    config = ("--config", f"configs/compat/{request.param}.yaml", "--model.encoder", folder)
    run = analyze(path / "run", *config, "--data", "JsonlPrompts", "--data.path", file)
    return PRESETS[request.param], run


def test_a_study_with_the_config_equals_the_packages(
    preset_run: tuple[Preset, Path], folder: Path
) -> None:
    preset, run = preset_run
    edits = table(run, "edits")
    changes = [abs(r["probability_after"] / r["probability_before"] - 1) for r in edits]
    assert max(changes) > 0.1
    # None of the controls that their scripts lack.
    assert {row["neurons"] for row in edits} == {"knowledge"}
    compare(run, package(folder), preset, edits)


def test_neurons_go_to_the_package_and_come_from_it(
    preset_run: tuple[Preset, Path], folder: Path, tmp_path: Path
) -> None:
    preset, run = preset_run
    theirs = package(folder)
    found = {c: their_neurons(theirs, c, prompts, preset) for c, prompts in GROUPS.items()}
    # As pararel_evaluate.py writes them.
    with (tmp_path / "theirs.json").open("w") as file:
        json.dump(found, file, indent=4)
    done = command("analyze.py", "neurons", run, tmp_path / "ours.json")
    assert done.code == 0, done.err
    ours = json.loads((tmp_path / "ours.json").read_text())
    assert list(ours) == list(GROUPS)
    assert {c: sorted(neurons) for c, neurons in found.items()} == ours
    assert read_neurons(tmp_path / "theirs.json") == read_neurons(tmp_path / "ours.json")
    # Their code takes the file's lists as they are.
    row = next(r for r in table(run, "edits") if r["prompt_id"] == "kitten/0")
    check(theirs, GROUPS["kitten"][0], "kitten", ours["kitten"], row)


@pytest.mark.slow
def test_a_study_of_lama_on_a_trained_encoder_equals_the_authors(
    shared: Path, tmp_path: Path
) -> None:
    encoder = shared / "models" / "minilm-mlm"
    run = analyze(
        tmp_path / "run",
        *("--config", "configs/compat/concept_neurons_code.yaml", "--model.encoder", encoder),
        *("--data.path", shared / "data" / "lama_conceptnet_rendered"),
        *("--data.concepts", '["puppy"]'),
    )
    compare(run, package(encoder), PRESETS["concept_neurons_code"], table(run, "edits"))


def test_dais_config_looks_for_two_to_five_neurons(folder: Path, tmp_path: Path) -> None:
    groups = ({"concept": c, "prompts": p} for c, p in GROUPS.items())
    file = write_jsonl(tmp_path / "groups.jsonl", *groups)
    run = analyze(
        tmp_path / "run",
        *("--config", "configs/compat/dai.yaml", "--model.encoder", folder),
        *("--data", "JsonlPrompts", "--data.path", file, "--edit.unrelated", "english"),
    )
    plain = analyze(
        tmp_path / "plain",
        *("--config", "configs/compat/dai.yaml", "--model.encoder", folder),
        *("--data", "JsonlPrompts", "--data.path", file, "--edit.unrelated", "english"),
        *("--refine.size", "null"),
    )
    sizes, before = (
        {c: sum(row["concept"] == c for row in table(path, "neurons")) for c in GROUPS}
        for path in (run, plain)
    )
    assert any(2 <= n <= 5 for n in sizes.values())
    assert sizes != before
    for concept, n in before.items():
        if 2 <= n <= 5:
            assert sizes[concept] == n
