"""A masked LM with its tokenizer, and where its neurons are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from kn_lightning.core.forward import TokenBatch
from kn_lightning.core.weights import WeightEdit
from kn_lightning.encoders.discovery import Structure
from kn_lightning.encoders.neurons import changed_neurons, indices_by_layer
from kn_lightning.encoders.surgery import forward_pre_hooks
from kn_lightning.encoders.weights import edited_weights
from kn_lightning.errors import InputError
from kn_lightning.schema import EncodedPrompt, Neuron


@dataclass(frozen=True)
class Traits:
    """What the contract check found to hold for this encoder, and the staged forward may use.

    Attributes:
        staged: the staged forward gives what whole forward passes give; else those are run.
        positionwise_head: the head after the last layer may run at the mask alone.
        batch_axes: for each layer, the batch axis of each leaf of its call's arguments (None:
            shared).
        mixers: for each layer, its one child that mixes positions; empty where there is no such
            child, and whole layers are run again.
        entries: for each layer, the linear maps of its mixer that see each position alone (queries,
            keys, values): behind a change at the mask, all their other outputs are known.
        mask_maps: the linear maps of the last layer's mixer whose outputs elsewhere don't reach the
            mask (queries, attention's output).
        decoder: the vocabulary's linear map, where its outputs are the logits.
    """

    staged: bool = True
    positionwise_head: bool = False
    batch_axes: tuple[tuple[int | None, ...], ...] = ()
    mixers: tuple[nn.Module, ...] = ()
    entries: tuple[tuple[nn.Linear, ...], ...] = ()
    mask_maps: tuple[nn.Linear, ...] = ()
    decoder: nn.Linear | None = None


@dataclass(frozen=True)
class Encoder:
    """A masked LM that attribution and edits can work on; made by ``load_encoder``.

    Attributes:
        model: the masked LM, in eval mode, its parameters without gradients.
        tokenizer: its tokenizer.
        structure: where its layers and neurons are.
        traits: what the staged forward may rely on.
        name: Hub id, folder or class name.
        revision: commit of the Hub, where it came from there.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    structure: Structure
    traits: Traits
    name: str
    revision: str | None = None

    @property
    def device(self) -> torch.device:
        """Where the model is now."""
        return self.model.device

    @cached_property
    def max_tokens(self) -> int:
        """Longest prompt that the encoder takes, in tokens with the special ones."""
        config = self.model.config.get_text_config()
        positions = getattr(config, "max_position_embeddings", None) or 1 << 20
        # RoBERTa and its kin count positions from behind their padding index.
        for name, module in self.model.named_modules():
            if name.endswith("position_embeddings"):
                padding = getattr(module, "padding_idx", None)
                positions -= 0 if padding is None else padding + 1
        return int(min(positions, self.tokenizer.model_max_length))

    @property
    def is_edited(self) -> bool:
        """Whether an :meth:`edited` block is open."""
        # Others, such as a profiler, hook into modules, too.
        return any(
            getattr(hook, "__module__", "") == changed_neurons.__module__
            for projection in self.structure.projections
            for hook in projection._forward_pre_hooks.values()
        )

    def text(self, ids: Sequence[int]) -> str:
        """Tokens as readable text: ``Ġword`` and ``▁word`` without their marks."""
        text = str(self.tokenizer.decode(list(ids))).strip()
        return text or "".join(self.tokenizer.convert_ids_to_tokens(list(ids)))

    def logits(self, batch: TokenBatch) -> Tensor:
        """Logits ``[B, T, V]`` of one forward pass."""
        logits: Tensor = self.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask
        ).logits
        return logits

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Token ids, each row as long as the longest, and their attention mask: ``[B, T]``."""
        width = max(map(len, rows))
        padding = self.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows])
        lengths = torch.tensor([len(row) for row in rows])
        return ids, (torch.arange(width) < lengths[:, None]).long()

    def batch(self, prompts: Iterable[EncodedPrompt]) -> TokenBatch:
        """Prompts of as many masks each, padded to the longest, on the model's device."""
        prompts = list(prompts)
        ids, attention = self.padded([prompt.input_ids for prompt in prompts])
        return TokenBatch(
            ids.to(self.device),
            attention.to(self.device),
            torch.tensor([prompt.mask_positions for prompt in prompts]).to(self.device),
            torch.tensor([prompt.answers for prompt in prompts]).to(self.device),
        )

    @contextmanager
    def edited(
        self, neurons: Iterable[Neuron | tuple[int, int]], factor: float = 0.0
    ) -> Iterator[None]:
        """Within the block, neurons at every mask are ``factor`` times what they would be.

        Args:
            neurons: (layer, index) pairs.
            factor: 0 suppresses, 2 amplifies.

        Raises:
            InputError: a neuron that the encoder doesn't have, or an input without a mask.
        """
        by_layer = indices_by_layer(self.structure, neurons)
        masks: list[Tensor] = []

        def find_masks(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
            masks[:] = [ids == self.tokenizer.mask_token_id]
            if not masks[0].any():
                raise InputError(
                    f"the edited encoder was run on text without {self.tokenizer.mask_token}"
                )

        def edit(indices: list[int]) -> Callable[[Tensor], Tensor]:
            def scaled(neurons: Tensor) -> Tensor:
                scale = torch.ones_like(neurons[0, 0])
                scale[indices] = factor
                # Longformer pads tokens to its window, behind them.
                padding = neurons.shape[1] - masks[0].shape[1]
                masked = nn.functional.pad(masks[0], (0, padding))
                return torch.where(masked[..., None], neurons * scale, neurons)

            return scaled

        changes = {layer: edit(indices) for layer, indices in by_layer.items()}
        with forward_pre_hooks([(self.model, find_masks)]), changed_neurons(self, changes):
            yield

    def weights_edited(
        self, neurons: Iterable[Neuron | tuple[int, int]], edit: WeightEdit
    ) -> AbstractContextManager[None]:
        """Within the block, neurons' value vectors are edited; behind it, all bits are as before.

        Such an edit acts at every position of every text, and on whatever runs the model. Blocks
        may be nested: the inner one edits what the outer one left.

        Args:
            neurons: (layer, index) pairs; one that is listed twice is edited once.
            edit: ``Erase`` or ``Update`` of :mod:`kn_lightning.core.weights`, or a function of the
                value vectors ``[K, H]`` of a layer's neurons.

        Raises:
            InputError: a neuron that the encoder doesn't have, or value vectors that can't be
                edited so; before anything is changed.
        """
        return edited_weights(self, neurons, edit)
