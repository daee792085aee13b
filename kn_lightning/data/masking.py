"""Sentences -> masked batches for training: input ids, attention, labels (-100: not asked)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import DataCollatorForLanguageModeling

from kn_lightning.schema import EncodedPrompt

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder

IGNORED = -100
MaskedBatch = dict[str, Tensor]


class RandomMasking:
    """BERT's masking of 15 % of the words, by transformers' collator.

    Args:
        encoder: whose tokenizer masks.
        probability: share of the words.
        seed: masks every batch in the same way; None draws anew.
    """

    def __init__(
        self, encoder: Encoder, probability: float = 0.15, seed: int | None = None
    ) -> None:
        self.collator = DataCollatorForLanguageModeling(
            encoder.tokenizer, mlm=True, mlm_probability=probability, seed=seed
        )

    def __call__(self, sentences: Sequence[Sequence[int]]) -> MaskedBatch:
        """``[B, T]`` input_ids, attention_mask and labels."""
        self.collator.generator = None  # a seed starts anew with every batch
        return dict(self.collator([{"input_ids": list(ids)} for ids in sentences]))


class MaskedPrompts:
    """Prompts with the concept masked and nothing else."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    def __call__(self, prompts: Sequence[EncodedPrompt]) -> MaskedBatch:
        """``[B, T]`` input_ids, attention_mask and labels."""
        input_ids, attention_mask = self.encoder.padded([prompt.input_ids for prompt in prompts])
        labels = torch.full_like(input_ids, IGNORED)
        for own, prompt in zip(labels, prompts, strict=True):
            own[list(prompt.mask_positions)] = torch.tensor(prompt.answers)
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class ConceptMasking:
    """Prompts with the concept masked, the others filled in and masked at random.

    Args:
        encoder: whose tokenizer masks.
        concept_share: share of the prompts in which the concept is masked.
    """

    def __init__(self, encoder: Encoder, concept_share: float = 0.7) -> None:
        self.concept = MaskedPrompts(encoder)
        self.random = RandomMasking(encoder)
        self.concept_share = concept_share

    def __call__(self, prompts: Sequence[EncodedPrompt]) -> MaskedBatch:
        """``[B, T]`` input_ids, attention_mask and labels."""
        by_concept = self.concept(prompts)
        filled = []
        for prompt in prompts:
            ids = torch.tensor(prompt.input_ids)
            ids[list(prompt.mask_positions)] = torch.tensor(prompt.answers)
            filled.append(ids.tolist())
        at_random = self.random(filled)
        chosen = torch.rand(len(prompts), 1) < self.concept_share
        return {
            key: torch.where(chosen, by_concept[key], at_random[key])
            for key in ("input_ids", "attention_mask", "labels")
        }
