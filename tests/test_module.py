"""The LightningModule's training: transformers' loss, and metrics over tokens, not batches."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from lightning import Trainer
from torch import Tensor

from kn_lightning.attribution import AttributionSettings
from kn_lightning.data.masking import ConceptMasking, MaskedBatch, MaskedPrompts, RandomMasking
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.module import MaskedLanguageModel
from kn_lightning.schema import EncodedPrompt

Encode = Callable[..., list[EncodedPrompt]]


@pytest.fixture
def module(make_encoder: Callable[..., Encoder], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module around a tiny BERT of its own, with dropout as BERT has it."""
    encoder = make_encoder("bert")
    monkeypatch.setattr("kn_lightning.module.load_encoder", lambda source: encoder)
    made: Any = MaskedLanguageModel("tiny", learning_rate=1.0, weight_decay=0.1, warmup_steps=2)
    made.log = lambda *_, **__: None  # without a trainer there is nothing to log to
    made.log_dict = lambda *_, **__: None
    return made


def batches(encoder: Encoder, encode: Encode) -> list[MaskedBatch]:
    """Batches of several sizes, one of each way of masking."""
    prompts = encode(encoder)
    filled = [
        [*p.input_ids[: p.mask_positions[0]], p.answers[0], *p.input_ids[p.mask_positions[0] + 1 :]]
        for p in prompts
    ]
    return [
        MaskedPrompts(encoder)(prompts[:1]),
        MaskedPrompts(encoder)(prompts[1:5]),
        RandomMasking(encoder, probability=0.5)(filled),
        ConceptMasking(encoder)(prompts),
    ]


def test_training_loss_is_that_of_transformers(module: Any, encode: Encode) -> None:
    for batch in batches(module.encoder, encode):
        loss = module.training_step(batch, 0)
        torch.testing.assert_close(loss, module.model(**batch).loss)


def test_training_gradients_are_those_of_transformers(module: Any, encode: Encode) -> None:
    module.model.requires_grad_(True)
    (*_, batch) = batches(module.encoder, encode)
    gradients = []
    for loss in (module.training_step(batch, 0), module.model(**batch).loss):
        module.zero_grad()
        loss.backward()
        gradients.append({n: p.grad.clone() for n, p in module.model.named_parameters()})
    assert all(gradient.abs().sum() > 0 for gradient in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def by_hand(module: Any, given: list[MaskedBatch]) -> dict[str, float]:
    """Loss, accuracy and perplexity over all tokens that are asked for, one after another."""
    losses, right = [], []
    for batch in given:
        with torch.no_grad():
            logits = module.model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
        for row, labels in zip(logits, batch["labels"], strict=True):
            for token, label in zip(row, labels.tolist(), strict=True):
                if label != -100:
                    losses.append(-float(token.double().log_softmax(0)[label]))
                    right.append(int(token.argmax()) == label)
    mean = sum(losses) / len(losses)
    return {
        "val_loss": mean,
        "val_accuracy": sum(right) / len(right),
        "val_perplexity": math.exp(mean),
    }


def validated(module: Any, given: list[MaskedBatch], folder: Path) -> dict[str, float]:
    """What Lightning says at the end of a validation."""
    del module.log, module.log_dict
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    loader = torch.utils.data.DataLoader(cast("Any", given), batch_size=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's own: workers, LeafSpec
        (metrics,) = trainer.validate(module, loader, verbose=False)
    return dict(metrics)


def test_validation_metrics_are_over_all_tokens_of_batches_of_different_sizes(
    module: Any, encode: Encode, tmp_path: Path
) -> None:
    one, four, *_ = batches(module.encoder, encode)
    # The single prompt is given its own best guess as the answer: right, of four wrong ones.
    best = module.model(input_ids=one["input_ids"]).logits[0].argmax(-1)
    one["labels"] = torch.where(one["labels"] == -100, -100, best)
    expected = by_hand(module, [one, four])
    assert 0 < expected["val_accuracy"] < 0.5
    means = [by_hand(module, [batch])["val_loss"] for batch in (one, four)]
    assert abs(sum(means) / 2 - expected["val_loss"]) > 0.1  # a mean of means would be seen
    found = validated(module, [one, four], tmp_path)
    assert found == pytest.approx(expected, rel=1e-4)


def test_batch_without_an_asked_token_changes_no_metric(
    module: Any, encode: Encode, tmp_path: Path
) -> None:
    given = batches(module.encoder, encode)
    nothing = {**given[1], "labels": torch.full_like(given[1]["labels"], -100)}
    expected = by_hand(module, given)
    found = validated(module, [given[0], nothing, *given[1:]], tmp_path)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_parameters_ask_for_gradients_and_dropout_is_on_in_fit_only(
    module: Any, encode: Encode, stage: str
) -> None:
    batch = MaskedPrompts(module.encoder)(encode(module.encoder))

    def logits() -> Tensor:
        result: Tensor = module.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        return result

    for now, fitting in [("fit", True), (stage, False), ("fit", True), (stage, False)]:
        module.setup(now)
        assert {p.requires_grad for p in module.model.parameters()} == {fitting}
        assert torch.equal(logits(), logits()) is not fitting
        assert logits().requires_grad is fitting


def test_matrices_are_decayed_and_biases_and_norms_are_not(module: Any) -> None:
    module.setup("fit")
    module.trainer = cast("Any", SimpleNamespace(estimated_stepping_batches=6))
    optimizer = module.configure_optimizers()["optimizer"]
    assert isinstance(optimizer, torch.optim.AdamW)
    decayed, plain = optimizer.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(p): name for name, p in module.model.named_parameters()}
    in_groups = [[names[id(p)] for p in group["params"]] for group in (decayed, plain)]
    assert sorted(in_groups[0] + in_groups[1]) == sorted(names.values())  # each once
    assert all(name.endswith("weight") and "LayerNorm" not in name for name in in_groups[0])
    assert all(name.endswith("bias") or "LayerNorm" in name for name in in_groups[1])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
def test_rate_rises_over_the_warm_up_and_falls_to_zero_at_the_last_step(module: Any) -> None:
    module.setup("fit")
    module.trainer = cast("Any", SimpleNamespace(estimated_stepping_batches=6))
    settings = module.configure_optimizers()
    assert settings["lr_scheduler"]["interval"] == "step"
    schedule = settings["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(7):
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    assert rates == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_learning_rate_that_makes_no_sense_is_refused_with_its_value(rate: float) -> None:
    with pytest.raises(InputError, match=rf"model\.learning_rate {rate}"):
        MaskedLanguageModel(learning_rate=rate)


def test_settings_of_attribution_are_handed_on(
    monkeypatch: pytest.MonkeyPatch, bert: Encoder
) -> None:
    monkeypatch.setattr("kn_lightning.module.load_encoder", lambda source: bert)
    module = MaskedLanguageModel("tiny", "trapezoid", 7, 0.5, "neuron", 3, 1000)
    assert module.settings == AttributionSettings(
        rule="trapezoid", nodes=7, tolerance=0.5, path="neuron", candidates=3, row_tokens=1000
    )


@pytest.mark.parametrize(("answers", "several"), [("single", False), ("multi", True)])
def test_answers_are_of_one_token_or_of_several(
    monkeypatch: pytest.MonkeyPatch, bert: Encoder, answers: str, several: bool
) -> None:
    monkeypatch.setattr("kn_lightning.module.load_encoder", lambda source: bert)
    assert MaskedLanguageModel("tiny", answers=answers).several is several
    assert MaskedLanguageModel("tiny").several is False


@pytest.mark.parametrize("answers", ["several", "Multi", "", "2"])
def test_other_kinds_of_answers_are_refused_with_the_choices(answers: str) -> None:
    with pytest.raises(InputError, match=f"model.answers '{answers}': choose one of single, multi"):
        MaskedLanguageModel(answers=answers)
