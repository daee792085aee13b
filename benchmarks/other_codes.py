"""What is measured against: the PyPI package knowledge-neurons, and captum over a patched forward.

Both get one prompt at a time: the package takes no more, and captum is no faster with more, the
rows of one prompt being a batch already.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
from captum.attr import IntegratedGradients
from knowledge_neurons import KnowledgeNeurons
from torch import Tensor

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt, Neuron

STEPS = 20
"""The package's default."""
BATCH_SIZES = (5, 10, 20)
"""Of the package: divisors of its steps."""


class Package:
    """The package, asked as its users ask it."""

    def __init__(self, encoder: Encoder) -> None:
        self._codes = KnowledgeNeurons(
            encoder.model, encoder.tokenizer, model_type="bert", device=str(encoder.device)
        )
        self._word = encoder.tokenizer.convert_ids_to_tokens

    def scores(
        self, prompt: EncodedPrompt, batch_size: int, layers: Sequence[int] | None = None
    ) -> Tensor:
        """``[L, I]`` of one prompt, or of some layers alone."""
        answer = self._word(prompt.answers[0])
        if layers is None:
            scores: Tensor = self._codes.get_scores(
                prompt.text, answer, batch_size, STEPS, pbar=False
            )
            return scores
        of = self._codes.get_scores_for_layer
        return torch.stack([of(prompt.text, answer, one, batch_size, STEPS) for one in layers])

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
    encoder: Encoder, prompt: EncodedPrompt, nodes: int, layers: Sequence[int] | None = None
) -> Tensor:
    """``[L, I]`` of one prompt by Integrated Gradients, layer by layer, Gauss-Legendre nodes.

    Or of some layers alone.
    """
    ids, mask = torch.tensor([prompt.input_ids], device=encoder.device), prompt.mask_positions[0]
    projections = encoder.structure.projections
    neurons: list[Tensor] = []

    def see(_: object, args: tuple[Tensor]) -> None:
        neurons.append(args[0][:, mask])

    with torch.no_grad(), ExitStack() as hooks:
        for module in projections:
            hooks.enter_context(module.register_forward_pre_hook(see))
        encoder.model(input_ids=ids)

    def probability(given: Tensor, module: torch.nn.Module) -> Tensor:
        def patch(_: object, args: tuple[Tensor]) -> tuple[Tensor]:
            return (torch.cat([args[0][:, :mask], given[:, None], args[0][:, mask + 1 :]], 1),)

        with module.register_forward_pre_hook(patch):
            logits: Tensor = encoder.model(input_ids=ids.expand(len(given), -1)).logits[:, mask]
        return logits.softmax(-1)[:, prompt.answers[0]]

    found = []
    for layer in range(len(projections)) if layers is None else layers:
        gradients = IntegratedGradients(partial(probability, module=projections[layer]))
        own = neurons[layer]
        found.append(gradients.attribute(own, n_steps=nodes, method="gausslegendre")[0])
    return torch.stack(found)
