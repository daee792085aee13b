"""What the writer keeps: scores as they were computed, and none unless asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save

from kn_lightning import attribute, load_encoder
from kn_lightning.callbacks import write
from kn_lightning.callbacks.write import WriteCallback
from kn_lightning.core.baselines import completed
from kn_lightning.core.registry import ATTRIBUTIONS, AttributionSettings
from kn_lightning.errors import InputError
from kn_lightning.pack_claims import begin_claims
from kn_lightning.run_folder import RunFolder
from kn_lightning.schema import Attribution

from .commands import command, table
from .conftest import GROUPS, Study

RULE = ("--model.rule", "gauss_legendre", "--model.nodes", 4)


def test_kept_scores_equal_the_attribution_of_each_prompt(
    study: Study, tiny_folder: Callable[[str], Path]
) -> None:
    run = study(*RULE, "--write.scores", "true", "--data.pack_tokens", 30)
    files = sorted((run / "scores").iterdir())
    assert [file.name for file in files] == [f"{n:06d}.safetensors" for n in range(len(files))]
    assert len(files) > 2
    scores: dict[str, torch.Tensor] = {}
    for file in files:
        new = load_file(file)
        assert not scores.keys() & new.keys()
        scores |= new
    assert scores.keys() == GROUPS.keys()
    encoder = load_encoder(tiny_folder("bert"))
    for concept, prompts in GROUPS.items():
        assert scores[concept].shape == (len(prompts), 3, 24)
        assert scores[concept].dtype == torch.float32
        for own, prompt in zip(scores[concept], prompts, strict=True):
            alone = attribute(encoder, [prompt], [concept], rule="gauss_legendre", nodes=4).scores[
                0
            ]
            assert alone.abs().max() > 0
            torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-7)


def test_rank_that_does_not_see_the_folder_of_rank_0_says_so(tmp_path: Path) -> None:
    name = begin_claims(tmp_path)  # by rank 0
    callback = WriteCallback()
    callback.begin(RunFolder(tmp_path), {})
    assert callback._claims(name).take(0)
    callback.begin(RunFolder(tmp_path / "elsewhere"), {})
    with pytest.raises(InputError, match=r"elsewhere: on .* give one on a disk that all ranks sh"):
        callback._claims(name)


def test_scores_of_a_concept_that_no_file_can_name_are_refused() -> None:
    write._check_names(["kitten", "metadata"])
    with pytest.raises(InputError, match=r"write.scores true: a concept is called __metadata__"):
        write._check_names(["kitten", "__metadata__"])
    with pytest.raises(SafetensorError):  # the reason: such a file can't be read
        load(save({"__metadata__": torch.zeros(1)}))


def test_scores_are_kept_only_when_asked_for(study: Study) -> None:
    assert not (study(*RULE) / "scores").exists()


def test_asking_for_scores_changes_no_table(study: Study) -> None:
    without, kept = study(*RULE), study(*RULE, "--write.scores", "true")
    for name in ("prompts", "completeness", "coarse", "neurons", "edits", "skipped"):
        assert table(kept, name) == table(without, name)


@pytest.mark.parametrize("rule", ["riemann_right", "trapezoid"])
def test_fixed_rules_count_their_nodes_for_every_layer(study: Study, rule: str) -> None:
    run = study("--model.rule", rule, "--model.nodes", 6)
    assert {row["evaluations"] for row in table(run, "prompts")} == {3 * 6}


COMPARE = ("--model.compare", "[activation,ablation]", "--model.candidates", 7)


def test_agreement_is_a_table_only_where_it_is_asked_for(study: Study) -> None:
    without, compared = study(*RULE), study(*RULE, *COMPARE)
    assert not (without / "agreement.parquet").exists()
    rows = table(compared, "agreement")
    prompts = [row["prompt_id"] for row in table(compared, "prompts")]
    assert [(row["prompt_id"], row["attribution"]) for row in rows] == [
        (prompt, name) for prompt in prompts for name in ("activation", "ablation")
    ]
    for row in rows:
        assert 7 <= cast("int", row["n_candidates"]) <= 14
        assert 0 <= cast("float", row["overlap_10"]) <= 1
        assert (row["spearman"] is None) == (row["attribution"] == "ablation")
    for name in ("prompts", "completeness", "coarse", "neurons", "edits", "skipped"):
        assert table(compared, name) == table(without, name)
    environment = json.loads((compared / "environment.json").read_text(encoding="utf-8"))
    assert environment["study"]["compare"] == ["activation", "ablation"]
    assert environment["seconds"]["comparison"] > 0


def test_agreement_does_not_depend_on_the_packs(study: Study) -> None:
    whole, cut = (
        {(row["prompt_id"], row["attribution"]): row for row in table(run, "agreement")}
        for run in (study(*RULE, *COMPARE), study(*RULE, *COMPARE, "--data.pack_tokens", 30))
    )
    assert whole.keys() == cut.keys()
    for key, row in whole.items():
        assert row["overlap_10"] == pytest.approx(cut[key]["overlap_10"], abs=0.11)
        assert row["spearman_candidates"] == pytest.approx(cut[key]["spearman_candidates"], abs=0.1)


@pytest.mark.parametrize("name", ["activation", "gradient_activation", "ablation"])
def test_any_attribution_finds_the_neurons_that_are_edited(
    study: Study, tiny_folder: Callable[[str], Path], name: str
) -> None:
    run = study("--model.attribution", name)
    encoder = load_encoder(tiny_folder("bert"))
    scores = attribute(encoder, GROUPS["rome"], ["rome"], attribution=name).scores[0]
    assert scores.max() > 0
    expected = [tuple(place) for place in (scores > 0.2 * scores.max()).nonzero().tolist()]
    found = [row for row in table(run, "neurons") if row["concept"] == "rome"]
    assert [(row["layer"], row["neuron"]) for row in found] == expected
    edits = [row for row in table(run, "edits") if row["concept"] == "rome"]
    edited = {row["n_neurons"] for row in edits if row["neurons"] == "knowledge"}
    assert edited == {len(expected)}
    for row in table(run, "completeness")[:3]:
        assert cast("float", row["residual"]) != 0


def test_an_attribution_from_outside_is_a_studys_like_any_other(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def size(forward: Any, base: Any, settings: AttributionSettings) -> Attribution:
        return completed(forward, base, base.activations.abs().mean(2))

    monkeypatch.setitem(ATTRIBUTIONS, "size", size)
    own = study("--model.attribution", "size", "--model.compare", "[activation]")
    compared = study("--model.attribution", "activation", "--model.compare", "[size]")
    first, second = table(own, "agreement"), table(compared, "agreement")
    assert {row["attribution"] for row in first} == {"activation"}
    assert {row["attribution"] for row in second} == {"size"}
    for ours, theirs in zip(first, second, strict=True):
        for key in ("spearman", "spearman_candidates", "overlap_10"):  # symmetric
            assert ours[key] == pytest.approx(theirs[key], abs=1e-6)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--model.attribution", "foo"), "unknown attribution 'foo': choose one of"),
        (("--model.compare", "[foo]"), "unknown attribution 'foo': choose one of"),
        (("--model.attribution", "ablation", *RULE), "rule 'gauss_legendre' is of integrated"),
    ],
)
def test_attributions_that_cannot_be_are_one_line(
    flags: tuple[object, ...], words: str, tmp_path: Path
) -> None:
    done = command("analyze.py", *flags, "--run_dir", tmp_path / "run")
    assert done.code == 2
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert not (tmp_path / "run").exists()
