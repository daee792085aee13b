"""The testbed's architecture with random weights, its vocabulary made from its sentences."""

from __future__ import annotations

import re

from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from kn_lightning.data.facts import embedded_groups
from kn_lightning.schema import MASK

SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", MASK]


def scratch_model() -> tuple[BertForMaskedLM, BertTokenizer]:
    """A BERT of 4 layers, 128 wide, 512 neurons a layer; weights from torch's generator."""
    tokenizer = scratch_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=64,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    return BertForMaskedLM(config), tokenizer


def scratch_tokenizer() -> BertTokenizer:
    """Every word of the testbed is one token; any other word falls into its letters."""
    words = {group.concept for group in embedded_groups()}
    for group in embedded_groups():
        for prompt in group.prompts:
            words.update(re.findall(r"[a-z]+|[^\sa-z]", prompt.text.replace(MASK, " ").lower()))
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*SPECIAL_TOKENS, *sorted({*words, *letters}), *(f"##{letter}" for letter in letters)]
    return BertTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, model_max_length=64
    )
