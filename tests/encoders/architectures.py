"""A tiny random masked LM of every architecture that transformers' AutoModelForMaskedLM knows."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from .tiny import HEADS, HIDDEN, LAYERS, NEURONS, POSITIONS, wordpiece_tokenizer

NAMES = tuple(MODEL_FOR_MASKED_LM_MAPPING_NAMES)

SIZES = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": NEURONS,
    "max_position_embeddings": POSITIONS + 2,
    "embedding_size": HIDDEN,
    "type_vocab_size": 2,
}
"""Given to each config that knows them."""

FURTHER: dict[str, dict[str, Any]] = {}
"""What an architecture needs beside them."""


def tiny_architecture(name: str) -> PreTrainedModel:
    """A random model in eval mode, its weights large enough for changes to be seen.

    A new release's architecture that the sizes above don't make small is made as it is.
    """
    tokenizer = wordpiece_tokenizer()
    known = AutoConfig.for_model(name)
    sizes = {**SIZES, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    given = {key: size for key, size in sizes.items() if hasattr(known, key)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, **{**given, **FURTHER.get(name, {})})
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                scale = 0.4 if parameter.ndim > 1 else 0.2
                parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model.eval()
