"""Other people's code gives the same numbers: the PyPI package knowledge-neurons, and captum."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from captum.attr import IntegratedGradients
from encoders.tiny import LAYERS, NEURONS
from knowledge_neurons import KnowledgeNeurons
from torch import Tensor

from kn_lightning import attribute, load_encoder
from kn_lightning.core.edits import row_edits
from kn_lightning.core.neurons import coarse_neurons, refined_neurons
from kn_lightning.core.probabilities import answer_probability
from kn_lightning.encoders.hooked import HookedForward
from kn_lightning.schema import EncodedPrompt, Neuron

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder

# Words without a capital or a second piece: the package looks answers up as they stand.
KITTEN = [
    "[MASK] will grow up to be a cat.",
    "the young of a cat is a [MASK].",
    "a small cat was once a [MASK] in the barn.",
    "every [MASK] is a young animal",
]


def package(encoder: Encoder) -> KnowledgeNeurons:
    return KnowledgeNeurons(encoder.model, encoder.tokenizer, model_type="bert", device="cpu")


@pytest.mark.parametrize(("steps", "batch_size"), [(20, 10), (7, 7), (1, 1)])
@pytest.mark.parametrize("prompt", KITTEN)
def test_scores_equal_those_of_the_package(
    bert: Encoder, prompt: str, steps: int, batch_size: int
) -> None:
    theirs = package(bert).get_scores(prompt, "kitten", batch_size, steps, pbar=False)
    ours = attribute(bert, [prompt], ["kitten"], rule="linspace", nodes=steps).scores[0]
    assert theirs.shape == ours.shape == (LAYERS, NEURONS)
    assert theirs.abs().max() > 1e-4
    assert (theirs - ours).abs().max() <= 1e-5 * theirs.abs().max()


def test_scores_of_a_trained_model_equal_those_of_the_package(shared: Path) -> None:
    # In float32 the package is off by 5e-5 of the largest score: at a high probability, its
    # gradient is a difference of large terms.
    encoder = load_encoder(shared / "models" / "minilm-mlm")
    encoder = load_encoder(encoder.model.double(), encoder.tokenizer)
    prompt = "the capital of france is [MASK]."
    theirs = package(encoder).get_scores(prompt, "paris", 10, 10, pbar=False)
    ours = attribute(encoder, [prompt], ["paris"], rule="linspace", nodes=10)
    assert ours.probability[0] > 0.5
    assert theirs.shape == ours.scores[0].shape == (6, 1536)
    assert (theirs - ours.scores[0]).abs().max() <= 1e-7 * theirs.abs().max()


@pytest.mark.parametrize("n_prompts", [1, 2, 3, 4])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_refined_neurons_equal_those_of_the_package(
    bert: Encoder, n_prompts: int, share: float
) -> None:
    prompts = KITTEN[:n_prompts]
    theirs = package(bert).get_refined_neurons(
        prompts,
        "kitten",
        p=share,
        batch_size=20,
        steps=20,
        coarse_adaptive_threshold=0.3,
        quiet=True,
    )
    scores = attribute(bert, prompts, ["kitten"] * n_prompts, rule="linspace", nodes=20).scores
    # "more than p %", as the package has it; the paper says "p % or more".
    refined = refined_neurons(scores, coarse_neurons(scores, 0.3), share, inclusive=False)
    ours = list(zip(refined.layer.tolist(), refined.neuron.tolist(), strict=True))
    assert ours
    assert len(set(ours)) == len(ours)
    assert sorted(map(tuple, theirs)) == ours


@pytest.mark.parametrize(("edit", "factor"), [("suppress", 0.0), ("enhance", 2.0)])
def test_edited_probabilities_equal_those_of_the_package(
    bert: Encoder, encode: Callable, edit: str, factor: float
) -> None:
    neurons = [Neuron(0, 2), Neuron(0, 17), Neuron(2, 5)]
    encoded = encode(bert, [(prompt, "kitten") for prompt in KITTEN])
    batch = bert.batch(encoded)
    logits = HookedForward(bert).edited_logits(batch, row_edits([(neurons, factor)] * len(KITTEN)))
    ours = answer_probability(logits, batch.answers)[:, 0]
    plain = answer_probability(HookedForward(bert).logits(batch, {}), batch.answers)[:, 0]
    for prompt, before, after in zip(KITTEN, plain.tolist(), ours.tolist(), strict=True):
        run = getattr(package(bert), f"{edit}_knowledge")
        theirs, _ = run(prompt, "kitten", [list(neuron) for neuron in neurons], quiet=True)
        assert before == pytest.approx(theirs["before"]["gt_prob"], rel=1e-5)
        assert after == pytest.approx(theirs["after"]["gt_prob"], rel=1e-5)
        assert abs(after - before) > 1e-3 * before


@pytest.mark.parametrize("nodes", [2, 5, 20])
def test_scores_equal_captums_gauss_legendre_over_a_patched_forward(
    bert64: Encoder, encode: Callable, nodes: int
) -> None:
    pairs = [(KITTEN[1], "kitten"), (KITTEN[0], "puppy")]
    ours = attribute(bert64, *map(list, zip(*pairs, strict=True)), "gauss_legendre", nodes).scores
    for row, prompt in enumerate(encode(bert64, pairs)):
        for layer in range(LAYERS):
            module = bert64.model.bert.encoder.layer[layer].output.dense
            theirs = captum_scores(bert64, prompt, module, nodes)
            # captum keeps its weights in float32.
            assert (theirs - ours[row, layer]).abs().max() <= 1e-6 * theirs.abs().max()


def captum_scores(
    encoder: Encoder, prompt: EncodedPrompt, module: torch.nn.Module, nodes: int
) -> Tensor:
    ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
    seen: list[Tensor] = []
    with torch.no_grad(), module.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        encoder.model(input_ids=ids)

    def probability(neurons: Tensor) -> Tensor:
        def patch(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
            return (torch.cat([args[0][:, :mask], neurons[:, None], args[0][:, mask + 1 :]], 1),)

        with module.register_forward_pre_hook(patch):
            logits = encoder.model(input_ids=ids.expand(len(neurons), -1)).logits[:, mask]
        return logits.softmax(-1)[:, prompt.answers[0]]

    return IntegratedGradients(probability).attribute(
        seen[0][:, mask], baselines=0.0, n_steps=nodes, method="gausslegendre"
    )[0]
