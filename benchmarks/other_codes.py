"""What is measured against: the PyPI package knowledge-neurons, and captum over a patched forward.

The package takes one prompt at a time; captum gets one, or several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from captum.attr import IntegratedGradients
from knowledge_neurons import KnowledgeNeurons
from setting import seconds
from timed import Code
from torch import Tensor

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt, Neuron

STEPS = 20
"""The package's default."""
BATCH_SIZES = (5, 10, 20, 40, 80)
"""Of the package, where they divide its steps."""
CAPTUM_ROWS = 40
"""Captum's several prompts have so many nodes together."""


class Package:
    """The package, asked as its users ask it."""

    def __init__(self, encoder: Encoder) -> None:
        self._codes = KnowledgeNeurons(
            encoder.model, encoder.tokenizer, model_type="bert", device=str(encoder.device)
        )
        self._word = encoder.tokenizer.convert_ids_to_tokens

    def scores(
        self,
        prompt: EncodedPrompt,
        batch_size: int,
        layers: Sequence[int] | None = None,
        steps: int = STEPS,
    ) -> Tensor:
        """``[L, I]`` of one prompt, or of some layers alone."""
        answer = self._word(prompt.answers[0])
        if layers is None:
            scores: Tensor = self._codes.get_scores(
                prompt.text, answer, batch_size, steps, pbar=False
            )
            return scores
        of = self._codes.get_scores_for_layer
        return torch.stack([of(prompt.text, answer, one, batch_size, steps) for one in layers])

    def edited(self, prompt: EncodedPrompt, neurons: list[Neuron]) -> list[float]:
        """The answer's probability with neurons suppressed, and amplified."""
        places = [list(neuron) for neuron in neurons]
        edits = (self._codes.suppress_knowledge, self._codes.enhance_knowledge)
        results = (
            edit(prompt.text, self._word(prompt.answers[0]), places, quiet=True)[0]
            for edit in edits
        )
        return [float(result["after"]["gt_prob"]) for result in results]


def captum_scores(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    nodes: int,
    layers: Sequence[int] | None = None,
) -> Tensor:
    """``[B, L, I]`` by Integrated Gradients, layer by layer, Gauss-Legendre nodes.

    Or of some layers alone.
    """
    batch = encoder.batch(prompts)
    ids, attention = batch.input_ids, batch.attention_mask
    masks, answers = batch.mask_positions[:, 0], batch.answers[:, 0]
    each = torch.arange(len(ids), device=ids.device)
    projections = encoder.structure.projections
    neurons: list[Tensor] = []

    def see(_: object, args: tuple[Tensor]) -> None:
        neurons.append(args[0][each, masks])

    with torch.no_grad(), ExitStack() as hooks:
        for module in projections:
            hooks.enter_context(module.register_forward_pre_hook(see))
        encoder.model(input_ids=ids, attention_mask=attention)

    def probability(given: Tensor, module: torch.nn.Module) -> Tensor:
        # Captum stacks the prompts node by node.
        times = len(given) // len(ids)
        rows, at = torch.arange(len(given), device=ids.device), masks.repeat(times)

        def patch(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
            return (args[0].index_put((rows, at), given),)

        with module.register_forward_pre_hook(patch):
            output = encoder.model(
                input_ids=ids.repeat(times, 1), attention_mask=attention.repeat(times, 1)
            )
        logits: Tensor = output.logits[rows, at]
        return logits.softmax(-1)[rows, answers.repeat(times)]

    found = []
    for layer in range(len(projections)) if layers is None else layers:
        gradients = IntegratedGradients(partial(probability, module=projections[layer]))
        found.append(gradients.attribute(neurons[layer], n_steps=nodes, method="gausslegendre"))
    return torch.stack(found, 1)


def package_code(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    layers: Sequence[int] | None = None,
    steps: int = STEPS,
) -> tuple[Code, int]:
    """The package as it is timed, and its best batch size, found on one layer."""
    package, middle = Package(encoder), [encoder.structure.n_layers // 2]

    def taken(size: int) -> float:
        return seconds(partial(package.scores, prompts[0], size, middle, steps))

    size = fastest([one for one in BATCH_SIZES if steps % one == 0], taken)

    def run(given: Sequence[EncodedPrompt]) -> Tensor:
        return torch.stack([package.scores(one, size, layers, steps) for one in given])

    return Code.of(encoder, run, 1, layers), size


def captum_code(
    encoder: Encoder, nodes: int, together: int, layers: Sequence[int] | None = None
) -> Code:
    """Captum as it is timed, with so many prompts at a time."""
    run = partial(captum_scores, encoder, nodes=nodes, layers=layers)
    return Code.of(encoder, run, together, layers)


def several(prompts: Sequence[EncodedPrompt], nodes: int) -> int:
    """How many of them captum gets at a time, where it doesn't get one."""
    return min(len(prompts), max(2, CAPTUM_ROWS // nodes))


def fastest_captum_code(encoder: Encoder, prompts: Sequence[EncodedPrompt], nodes: int) -> Code:
    """The faster of one prompt and several at a time, found on one layer."""
    middle = [encoder.structure.n_layers // 2]

    def taken(together: int) -> float:
        given = prompts[:together]
        return seconds(partial(captum_scores, encoder, given, nodes, middle)) / together

    return captum_code(encoder, nodes, fastest([1, several(prompts, nodes)], taken))


def fastest(sizes: list[int], taken: Callable[[int], float]) -> int:
    """The size that takes least, after one call that doesn't count, for the first is slower."""
    taken(sizes[0])
    return min(sizes, key=taken)
