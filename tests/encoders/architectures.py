"""A tiny random masked LM of every architecture that transformers' AutoModelForMaskedLM knows."""

from __future__ import annotations

from functools import cache
from typing import Any
from unittest import mock

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from kn_lightning import load_encoder
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.rows import ROWS

from .stranger import ROW, STRANGERS, stranger
from .tiny import (
    HEADS,
    HIDDEN,
    LAYERS,
    NEURONS,
    POSITIONS,
    word_tokenizer,
    wordpiece_tokenizer,
)

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

_VISION = {
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
}
_SEQ2SEQ = {
    f"{side}_{key}": size
    for side in ("encoder", "decoder")
    for key, size in (("layers", LAYERS), ("attention_heads", HEADS), ("ffn_dim", NEURONS))
}

FURTHER: dict[str, dict[str, Any]] = {
    "bart": _SEQ2SEQ,
    "distilbert": {"hidden_dim": NEURONS},
    "layoutlm": {"max_2d_position_embeddings": 8},
    # A window that no prompt's length is a multiple of, as the Hub's.
    "longformer": {"attention_window": POSITIONS},
    "luke": {"entity_vocab_size": 8, "entity_emb_size": 8},
    "mbart": _SEQ2SEQ,
    "mobilebert": {"intra_bottleneck_size": 8, "embedding_size": 8},
    "modernvbert": {"text_config": {"model_type": "modernbert"}, "vision_config": _VISION},
    "mvp": _SEQ2SEQ,
    # Attention is wider than the feed-forward block, and must not be taken for it.
    "neomme": {"head_dim": 16, "num_key_value_heads": 2, "embedding_rank": 8, "patch_size": 2},
    "perceiver": {"d_latents": HIDDEN, "d_model": HIDDEN, "num_latents": 8},
    "reformer": {"axial_pos_shape": (6, 7), "axial_pos_embds_dim": (8, 8)},
    "rembert": {"input_embedding_size": 8, "output_embedding_size": 8},
    "roc_bert": {
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": 90,
        "shape_embed_dim": 8,
        "shape_vocab_size": 90,
    },
    "tapas": {"type_vocab_sizes": (3, 4, 4, 2, 4, 4, 4)},
    "ultrabert": {"prediction_head_size": 8},
    "ultravbert": {
        "text_config": {"model_type": "ultrabert", "prediction_head_size": 8},
        "vision_config": _VISION,
    },
    "xmod": {"default_language": "en_XX"},
}
"""What an architecture needs beside them."""

SCALES = {"mobilebert": 0.1}
"""Of random weights; without norms large ones make probabilities jump."""

UNSIZED = {"funnel": {"block_sizes": (1, 1, 1), "d_model": HIDDEN, "d_inner": NEURONS, "n_head": 2}}
"""Configs that refuse the sizes above, and what they get instead."""


FLOAT32 = ("longformer", "mra")
"""Those that don't run in float64, in which all others are compared."""


@cache
def encoder_of(name: str) -> Encoder:
    """A tiny encoder of an architecture; shared, so that all leave it as it is."""
    if name in STRANGERS:
        with mock.patch.dict(ROWS, ROW if name == STRANGERS[1] else {}):
            return load_encoder(stranger(name).double(), word_tokenizer())
    dtype = torch.float32 if name in FLOAT32 else torch.float64
    return load_encoder(tiny_architecture(name).to(dtype), wordpiece_tokenizer())


def tiny_architecture(name: str) -> PreTrainedModel:
    """A random model in eval mode, its weights large enough for changes to be seen.

    A new release's architecture that the sizes above don't make small is made as it is.
    """
    tokenizer = wordpiece_tokenizer()
    sizes = {**SIZES, "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}

    def known(model_type: str) -> dict[str, Any]:
        if model_type in UNSIZED:
            return {**UNSIZED[model_type], "vocab_size": len(tokenizer)}
        config = AutoConfig.for_model(model_type)
        return {key: size for key, size in sizes.items() if hasattr(config, key)}

    settings = dict(FURTHER.get(name, {}))
    if "text_config" in settings:
        text = settings["text_config"]
        settings["text_config"] = known(text["model_type"]) | text
    else:
        settings = known(name) | settings
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = AutoConfig.for_model(name, **settings)
        model: PreTrainedModel = AutoModelForMaskedLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                scale = SCALES.get(name, 0.4) / (1 if parameter.ndim > 1 else 2)
                parameter.add_(torch.randn_like(parameter), alpha=scale)
    return model.eval()
