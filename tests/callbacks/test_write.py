"""What the writer keeps: scores as they were computed, and none unless asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from kn_lightning import attribute, load_encoder

from .commands import table
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
