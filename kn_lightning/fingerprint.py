"""What makes an encoder, and its reading of a study, the same as another's: SHA-256."""

from __future__ import annotations

import hashlib
from typing import Any

import torch

from kn_lightning.data.study import Study
from kn_lightning.data.unrelated import UnrelatedPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.identity import content_sha256
from kn_lightning.schema import EncodedPrompt

_NOT_FORWARD = ("transformers_version", "architectures", "dtype", "torch_dtype")
"""Keys of a config that say who wrote it or how it is loaded, not what the encoder computes."""


def weights_sha256(model: torch.nn.Module) -> str:
    """Of all parameters and buffers with their names, as they are in memory."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def config_sha256(encoder: Encoder) -> str:
    """Of what its config sets apart from the defaults: heads and activations leave no weights."""
    config = encoder.model.config.to_diff_dict()
    return content_sha256({key: value for key, value in config.items() if key not in _NOT_FORWARD})


def tokens_sha256(encoder: Encoder, study: Study, unrelated: UnrelatedPrompts) -> str:
    """Of the vocabulary, and of all prompts that the encoder is asked, as its tokenizer reads them.

    The unrelated concept's prompts may be of groups that the study leaves out.
    """
    groups = (*study.groups, *([unrelated.fixed] if unrelated.fixed else []))
    prompts = [
        [(group.concept, *map(_read, part)) for part in (group.prompts, group.negated)]
        for group in groups
    ]
    return content_sha256([sorted(encoder.tokenizer.get_vocab().items()), prompts])


def _read(prompt: EncodedPrompt) -> tuple[Any, ...]:
    return prompt.prompt_id, prompt.input_ids, prompt.mask_positions, prompt.answers
