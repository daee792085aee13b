"""Every row of the table of weight edits, recomputed by transformers with its weights set here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kn_lightning.core.edits import held_out, random_neurons, seeded_generator
from kn_lightning.data.unrelated import LONDON
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

from .commands import analyze, command, killed_behind, no_report, table
from .conftest import GROUPS, Study

ALL = ("--edit.weights", "[erase_zero,erase_unk,update]", "--edit.holdout", 0.4)
FEW = ("--edit.others", 3, "--edit.control_seeds", 2, "--edit.lambda_1", 0.5, "--edit.lambda_2", 3)
SETTINGS = (*ALL, *FEW)
EDITS = ("erase_zero", "erase_unk", "update")

Row = dict[str, Any]
Neurons = list[Neuron]


class Edited:
    """Answers by transformers alone, one prompt at a time, with value vectors set here."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()
        self.maps = [layer.output.dense.weight.data for layer in self.model.bert.encoder.layer]
        self.before = [weight.clone() for weight in self.maps]

    def token(self, word: str) -> int:
        return int(self.tokenizer.convert_tokens_to_ids(word))

    def set(self, edit: str, neurons: Neurons, old: str, new: str | None) -> None:
        words = self.model.get_input_embeddings().weight.data
        for weight, before in zip(self.maps, self.before, strict=True):
            weight.copy_(before)
        for layer, index in neurons:
            value = self.before[layer][:, index]
            if edit == "erase_zero":
                value = torch.zeros_like(value)
            elif edit == "erase_unk":
                value = words[self.tokenizer.unk_token_id]
            elif edit == "update":
                assert new is not None
                gone, come = words[self.token(old)], words[self.token(new)]
                size = value.norm()
                value = value - 0.5 * size / gone.norm() * gone + 3 * size / come.norm() * come
            self.maps[layer][:, index] = value

    def logits(self, text: str) -> torch.Tensor:
        ids = self.tokenizer(text.replace("[MASK]", "[MASK]"), return_tensors="pt").input_ids
        position = ids[0].tolist().index(self.tokenizer.mask_token_id)
        with torch.no_grad():
            logits: torch.Tensor = self.model(input_ids=ids).logits[0, position]
        return logits.double()

    def check(self, row: Row, when: str, text: str, answer: str) -> None:
        logits = self.logits(text)
        said = [("", answer)]
        if row["target"] is not None and row["target"] != answer:
            said.append(("target_", row["target"]))
        for of, word in said:
            own = logits[self.token(word)]
            probability = float(logits.softmax(0)[self.token(word)])
            assert row[f"{of}probability_{when}"] == pytest.approx(probability, abs=1e-5)
            first, last = (int((logits > own + d).sum()) + 1 for d in (1e-4, -1e-4))
            assert first <= row[f"{of}rank_{when}"] <= max(first, last - 1)
        probability = float(logits.softmax(0)[self.token(answer)])
        log_odds = math.log(probability) - math.log1p(-probability)
        assert row[f"log_odds_{when}"] == pytest.approx(log_odds, abs=1e-4)
        best = (logits > logits.max() - 1e-4).nonzero().flatten()
        assert row[f"argmax_{when}"] in {self.tokenizer.decode([int(i)]).strip() for i in best}


def texts_of(run: Path) -> dict[object, tuple[str, str]]:
    """Text and answer of each prompt id."""
    texts = {f"london/{i}": (prompt.text, "london") for i, prompt in enumerate(LONDON.prompts)}
    for row in table(run, "prompts"):
        texts[str(row["prompt_id"])] = (str(row["prompt"]), str(row["concept"]))
    return dict(texts)


def refined(run: Path) -> dict[str, Neurons]:
    neurons: dict[str, Neurons] = {concept: [] for concept in GROUPS}
    for row in table(run, "neurons"):
        neurons[str(row["concept"])].append(Neuron(int(row["layer"]), int(row["neuron"])))  # type: ignore[call-overload]
    return neurons


def test_every_row_is_what_transformers_gives_with_those_weights(
    study: Study, tiny_folder: Callable[[str], Path]
) -> None:
    run = study(*SETTINGS)
    edited = Edited(tiny_folder("bert"))
    texts, neurons = texts_of(run), refined(run)
    rows: list[Row] = table(run, "weight_edits")
    targets = {row["concept"]: row["target"] for row in rows if row["target"]}
    moved: Counter[tuple[str, str]] = Counter()
    for row in rows:
        own, concept = neurons[row["concept"]], row["concept"]
        if row["neurons"] != "knowledge":
            k = int(row["neurons"].removeprefix("random:"))
            own = random_neurons(own, 24, seeded_generator(0, concept, k))
        assert row["n_neurons"] == len(own)
        assert row["target"] == (targets[concept] if row["edit"] == "update" else None)
        edited.set("none", [], "", None)
        edited.check(row, "before", *texts[row["prompt_id"]])
        edited.set(row["edit"], own, concept, row["target"])
        edited.check(row, "after", *texts[row["prompt_id"]])
        change = abs(row["probability_after"] - row["probability_before"])
        moved[row["prompt_kind"], row["edit"]] += change > 1e-4
    kinds = ("related", "held_out", "unrelated", "other")
    assert all(moved[kind, edit] for kind in kinds for edit in EDITS)


def test_each_concept_has_rows_of_all_kinds_once(study: Study) -> None:
    run = study(*SETTINGS)
    rows: list[Row] = table(run, "weight_edits")
    drawn: dict[object, set[object]] = {}
    for row in table(run, "edits"):
        if row["prompt_kind"] == "other":
            drawn.setdefault(row["concept"], set()).add(row["prompt_id"])
    for concept, prompts in GROUPS.items():
        held = held_out(concept, len(prompts), 0.4, 0).tolist()
        ids = {
            "related": {f"{concept}/{i}" for i, out in enumerate(held) if not out},
            "held_out": {f"{concept}/{i}" for i, out in enumerate(held) if out},
            "unrelated": {f"london/{i}" for i in range(len(LONDON.prompts))},
            "other": drawn[concept],
        }
        for edit in EDITS:
            for source in ("knowledge", "random:0", "random:1"):
                key = (concept, edit, source)
                own = [r for r in rows if (r["concept"], r["edit"], r["neurons"]) == key]
                found = {kind: [r for r in own if r["prompt_kind"] == kind] for kind in ids}
                for kind, part in found.items():
                    assert sorted(r["prompt_id"] for r in part) == sorted(ids[kind]), (key, kind)
                assert sum(map(len, found.values())) == len(own)


def test_a_new_answer_is_another_concept_of_the_study(study: Study) -> None:
    rows: list[Row] = table(study(*SETTINGS), "weight_edits")
    targets = {(row["concept"], row["target"]) for row in rows if row["edit"] == "update"}
    assert {concept for concept, _ in targets} == set(GROUPS)
    assert len(targets) == len(GROUPS)
    assert all(target in GROUPS and target != concept for concept, target in targets)
    for row in rows:
        known = row["edit"] == "update" and row["prompt_id"].split("/")[0] != row["target"]
        assert (row["target_probability_after"] is not None) is known
        assert (row["target_rank_before"] is not None) is known


def test_no_bit_of_any_edit_stays_in_the_encoder(study: Study) -> None:
    run = study(*SETTINGS)
    for name in ("prompts", "completeness", "coarse", "neurons", "edits"):
        assert table(run, name) == table(study(*ALL[2:], *FEW[:4]), name), name


def test_without_the_setting_there_is_no_table(study: Study) -> None:
    run = study(*ALL[2:], *FEW[:4])
    assert not (run / "weight_edits.parquet").exists()
    assert (run / "edits.parquet").exists()


def test_concepts_without_neurons_stay_as_they_were_exactly(study: Study) -> None:
    run = study(*SETTINGS, "--refine.threshold", 0.9, "--refine.share", 1.0)
    bare = {concept for concept, own in refined(run).items() if not own}
    assert bare
    rows = [row for row in table(run, "weight_edits") if row["concept"] in bare]
    assert {(row["concept"], row["edit"]) for row in rows} == {(c, e) for c in bare for e in EDITS}
    for row in rows:
        assert row["n_neurons"] == 0
        for column in ("probability", "rank", "argmax", "target_probability", "target_rank"):
            assert row[f"{column}_after"] == row[f"{column}_before"]


@pytest.mark.parametrize("flags", [("--data.pack_tokens", 30), ("--model.row_tokens", 40)])
def test_rows_depend_neither_on_packs_nor_on_what_is_computed_together(
    study: Study, flags: tuple[object, ...]
) -> None:
    rows: list[list[Row]] = [table(study(*SETTINGS, *more), "weight_edits") for more in ((), flags)]
    assert len(rows[0]) == len(rows[1])
    for one, other in zip(*rows, strict=True):
        for name, value in one.items():
            near = pytest.approx(value, rel=1e-4, abs=1e-8) if isinstance(value, float) else value
            assert other[name] == near, name


def test_edits_are_seen_under_autocast_which_could_keep_a_cast_of_the_weights(
    study: Study,
) -> None:
    mixed: list[Row] = table(study(*SETTINGS, "--trainer.precision", "bf16-mixed"), "weight_edits")
    keys = ("concept", "prompt_id", "prompt_kind", "edit", "neurons")
    full = {tuple(row[k] for k in keys): row for row in table(study(*SETTINGS), "weight_edits")}
    # Neurons near the threshold may differ; where they don't, answers are the same but for bf16.
    pairs = [(row, full[tuple(row[k] for k in keys)]) for row in mixed]
    alike = [pair for pair in pairs if pair[0]["n_neurons"] == pair[1]["n_neurons"] > 0]
    alike = [(one, two) for one, two in alike if one["target"] == two["target"]]
    alike = [(one, two) for one, two in alike if one["neurons"] == "knowledge"]
    assert len(alike) > 30
    errors = [abs(one["probability_after"] - two["probability_after"]) for one, two in alike]
    changes = [abs(two["probability_after"] - two["probability_before"]) for _, two in alike]
    assert sum(errors) < 0.3 * sum(changes)


def test_a_study_that_was_cut_off_goes_on_with_its_weight_edits(
    study: Study, tiny_folder: Callable[[str], Path], prompt_file: Path, tmp_path: Path
) -> None:
    packs = ("--data.pack_tokens", 30)
    flags = ("--model.encoder", tiny_folder("bert"), "--data", "JsonlPrompts")
    flags = (*flags, "--data.path", prompt_file, *SETTINGS, *packs, "--run_dir", tmp_path / "run")
    with killed_behind(2), no_report():
        # Lightning ends the process at an interrupt.
        assert command("analyze.py", *flags).code != 0
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 2
    assert not (tmp_path / "run" / "weight_edits.parquet").exists()
    other = ("--edit.weights", "[update]")
    assert "edit.weights" in command("analyze.py", *flags, *other).err
    with no_report():
        assert command("analyze.py", *flags).code == 0
    ours, theirs = table(tmp_path / "run", "weight_edits"), study(*SETTINGS, *packs)
    assert ours == table(theirs, "weight_edits")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--edit.weights", "[erase]"), ["edit.weights ['erase']", "erase_zero"]),
        (("--edit.weights", "[update,update]"), ["edit.weights", "each once"]),
        (("--edit.lambda_2", "much"), ["edit.lambda_2", "much"]),
        (("--edit.weights", "[update]", "--data.concepts", "[kitten]"), ["update", "one concept"]),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path,
    tiny_folder: Callable[[str], Path],
    prompt_file: Path,
    flags: tuple[object, ...],
    words: list[str],
) -> None:
    source = ("--data", "JsonlPrompts", "--data.path", prompt_file)
    encoder = ("--model.encoder", tiny_folder("bert"), "--run_dir", tmp_path / "run")
    done = command("analyze.py", *encoder, *source, *flags)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert all(word in done.err for word in words), done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_trained_encoder_forgets_and_learns_by_its_weights(shared: Path, tmp_path: Path) -> None:
    data = ("--data", "JsonlPrompts", "--data.path", shared / "data" / "pararel_capitals.jsonl")
    encoder = ("--model.encoder", shared / "models" / "minilm-mlm")
    few = ("--data.max_groups", 4, "--edit.others", 3, "--edit.control_seeds", 1)
    rule = ("--model.rule", "gauss_legendre", "--model.nodes", 3, "--edit.max_prompts", 3)
    weights = ("--edit.weights", "[erase_zero,update]", "--edit.holdout", 0.5)
    run = analyze(tmp_path / "run", *encoder, *data, *few, *rule, *weights)
    rows: list[Row] = table(run, "weight_edits")

    def mean(edit: str, source: str, kind: str, column: str) -> float:
        key = (edit, source, kind)
        own = [r for r in rows if (r["edit"], r["neurons"], r["prompt_kind"]) == key]
        assert own
        return float(sum(row[column] for row in own) / len(own))

    for kind in ("related", "held_out"):
        before = mean("erase_zero", "knowledge", kind, "probability_before")
        erased = mean("erase_zero", "knowledge", kind, "probability_after")
        updated = mean("update", "knowledge", kind, "probability_after")
        assert updated < erased < before
        random = mean("erase_zero", "random:0", kind, "probability_after")
        assert random > erased
        # Others lose a smaller part of theirs.
        for away in ("unrelated", "other"):
            left = [
                mean("erase_zero", "knowledge", away, f"probability_{w}")
                for w in ("before", "after")
            ]
            assert abs(left[1] / left[0] - 1) < abs(erased / before - 1)
        new = [
            mean("update", "knowledge", kind, f"target_probability_{w}")
            for w in ("before", "after")
        ]
        assert new[1] > 10 * new[0]


def test_an_error_names_the_class_of_bad_input() -> None:
    from kn_lightning.callbacks.edit import EditCallback

    with pytest.raises(InputError, match=r"edit\.lambda_1 nan"):
        EditCallback(lambda_1=math.nan)
    assert EditCallback().settings.weights == ()
