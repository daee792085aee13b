"""The tiny encoders are what the other tests take them for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kn_lightning.core.probabilities import answer_probability
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward

from .tiny import PARAMETERS, tiny_model


def test_tiny_models_have_the_parameters_that_a_count_by_hand_gives(architecture: str) -> None:
    model, tokenizer = tiny_model(architecture)
    assert 55 <= len(tokenizer) <= 700
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == PARAMETERS[architecture](len(tokenizer))


def test_probabilities_and_effects_of_tiny_models_are_far_from_uniform(
    encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    hooked = HookedForward(encoder)
    with torch.no_grad():
        logits = hooked.logits(batch, {})
        assert logits.softmax(-1).amax(-1).median() > 5 / logits.shape[-1]
        before = answer_probability(logits, batch.answers)
        for layer in range(encoder.structure.n_layers):
            after = answer_probability(
                hooked.logits(batch, {layer: lambda x: 0 * x}), batch.answers
            )
            assert ((after - before).abs() / before).median() > 0.05


@pytest.mark.parametrize("word", ["kitten", "paris"])
def test_the_byte_level_tokenizer_knows_a_word_with_and_without_its_space(
    roberta: Encoder, word: str
) -> None:
    tokens = roberta.tokenizer.tokenize(f"{word} {word}")
    assert tokens == [word, f"Ġ{word}"]
