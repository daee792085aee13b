"""Every row of the table of values, recomputed by transformers, one vector at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from kn_lightning.core.edits import random_neurons, seeded_generator
from kn_lightning.schema import Neuron

from .commands import command, killed_behind, no_report, table
from .conftest import GROUPS, Study

VALUES = ("--refine.values", 4, "--edit.control_seeds", 2)
Row = dict[str, Any]


class Reference:
    """Logits of value vectors, and activations at the mask, by transformers alone."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()
        self.maps = [layer.output.dense for layer in self.model.bert.encoder.layer]

    @torch.no_grad()
    def logits(self, layer: int, neuron: int) -> torch.Tensor:
        value = self.maps[layer].weight[:, neuron]
        there, back = (self.model.cls(v[None, None])[0, 0] for v in (value, -value))
        return (there - back) / 2

    @torch.no_grad()
    def activations(self, text: str) -> torch.Tensor:
        """``[L, I]``."""
        ids = self.tokenizer(text, return_tensors="pt").input_ids
        position = ids[0].tolist().index(self.tokenizer.mask_token_id)
        seen: list[torch.Tensor] = []
        handles = [
            dense.register_forward_pre_hook(lambda _, args: seen.append(args[0][0, position]))
            for dense in self.maps
        ]
        self.model(input_ids=ids)
        for handle in handles:
            handle.remove()
        return torch.stack(seen)


def test_every_row_is_what_transformers_gives(
    study: Study, tiny_folder: Callable[[str], Path]
) -> None:
    run, reference = study(*VALUES), Reference(tiny_folder("bert"))
    rows: list[Row] = table(run, "values")
    texts = {str(row["prompt_id"]): str(row["prompt"]) for row in table(run, "prompts")}
    active = {name: reference.activations(text) for name, text in texts.items()}
    assert rows
    for row in rows:
        place = row["layer"], row["neuron"]
        logits = reference.logits(*place)
        answer = logits[reference.tokenizer.convert_tokens_to_ids(row["concept"])]
        assert row["answer"] == row["concept"]
        first, last = (int((logits > answer + d).sum()) + 1 for d in (1e-4, -1e-4))
        assert first <= row["rank"] <= max(first, last - 1)
        for name, sign in (("promoted", 1), ("demoted", -1)):
            tokens = reference.tokenizer.convert_tokens_to_ids(row[name])
            best = (sign * logits).topk(4).values
            torch.testing.assert_close(sign * logits[tokens], best, atol=1e-4, rtol=0)
        own = [active[f"{row['concept']}/{i}"][place] for i in range(len(GROUPS[row["concept"]]))]
        assert row["activation"] == pytest.approx(float(torch.stack(own).mean()), abs=1e-4)
        best = torch.stack([seen[place] for seen in active.values()]).topk(4).values
        assert row["activations"] == pytest.approx(best.tolist(), abs=1e-4)
        found = [float(active[name][place]) for name in row["prompts"]]
        assert found == pytest.approx(row["activations"], abs=1e-4)


def test_rows_are_the_concepts_neurons_and_the_random_ones_of_the_edits(study: Study) -> None:
    run = study(*VALUES)
    own: dict[str, list[Neuron]] = {concept: [] for concept in GROUPS}
    for row in table(run, "neurons"):
        own[str(row["concept"])].append(Neuron(int(row["layer"]), int(row["neuron"])))  # type: ignore[call-overload]
    expected = []
    for concept, neurons in own.items():
        drawn = [random_neurons(neurons, 24, seeded_generator(0, concept, k)) for k in range(2)]
        names = ("knowledge", "random:0", "random:1")
        for name, part in zip(names, (neurons, *drawn), strict=True):
            expected += [(concept, name, *neuron) for neuron in part]
    rows: list[Row] = table(run, "values")
    keys = ("concept", "neurons", "layer", "neuron")
    assert [tuple(row[key] for key in keys) for row in rows] == expected


def test_without_the_setting_there_is_no_table_and_all_others_are_the_same(study: Study) -> None:
    run, other = study(*VALUES), study(*VALUES[2:])
    assert not (other / "values.parquet").exists()
    assert not (run / "keys.parquet").exists()
    for name in ("prompts", "completeness", "coarse", "neurons", "edits"):
        assert table(run, name) == table(other, name), name


def test_a_study_that_was_cut_off_gives_the_rows_of_one_that_was_not(
    study: Study, tiny_folder: Callable[[str], Path], prompt_file: Path, tmp_path: Path
) -> None:
    packs = (*VALUES, "--data.pack_tokens", 30)
    flags = ("--model.encoder", tiny_folder("bert"), "--data", "JsonlPrompts")
    flags = (*flags, "--data.path", prompt_file, *packs, "--run_dir", tmp_path / "run")
    with killed_behind(2), no_report():
        assert command("analyze.py", *flags).code != 0
    assert len(list((tmp_path / "run" / "parts").iterdir())) == 2
    assert "refine.values" in command("analyze.py", *flags, "--refine.values", 5).err
    with no_report():
        assert command("analyze.py", *flags).code == 0
    ours: list[Row] = table(tmp_path / "run", "values")
    assert ours == table(study(*packs), "values")
    for one, whole in zip(ours, table(study(*VALUES), "values"), strict=True):
        for name, value in one.items():
            near = name in ("activation", "activations")
            assert value == (pytest.approx(whole[name], abs=1e-5) if near else whole[name]), name


@pytest.mark.parametrize("value", [0, -1, 101, "some"])
def test_what_makes_no_sense_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_folder: Callable[[str], Path], prompt_file: Path, value: object
) -> None:
    source = ("--data", "JsonlPrompts", "--data.path", prompt_file)
    encoder = ("--model.encoder", tiny_folder("bert"), "--run_dir", tmp_path / "run")
    done = command("analyze.py", *encoder, *source, "--refine.values", value)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert "refine.values" in done.err
    assert not (tmp_path / "run").exists()
