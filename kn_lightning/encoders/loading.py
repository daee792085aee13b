"""A Hub id, a folder, ``embedded`` or a model object -> a verified encoder."""

from __future__ import annotations

from dataclasses import replace
from os.path import expanduser
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from kn_lightning.core.forward import TokenBatch
from kn_lightning.encoders.contract import probe_batch, verified_traits
from kn_lightning.encoders.discovery import discover
from kn_lightning.encoders.encoder import Encoder, Traits
from kn_lightning.encoders.rows import ROWS
from kn_lightning.encoders.scratch import scratch_model
from kn_lightning.errors import InputError

EMBEDDED = "embedded"
SCRATCH = "scratch"
EMBEDDED_FOLDER = Path(__file__).parent.parent / "assets" / "encoder"


def load_encoder(
    source: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> Encoder:
    """Load a masked LM, find its neurons and check them.

    Args:
        source: a Hub id, a local folder, ``"embedded"`` (the small BERT of this package),
            ``"scratch"`` (the same, untrained), or a masked LM that is loaded already; that is put
            into eval mode and its parameters stop asking for gradients.
        tokenizer: needed with a model object; otherwise the source's own.

    Raises:
        InputError: nothing can be loaded from there, weights are missing or not finite, or the
            encoder's neurons can't be found or fail the contract check.
    """
    if isinstance(source, PreTrainedModel):
        if tokenizer is None:
            raise InputError(
                "load_encoder: a model object comes with its tokenizer: pass tokenizer="
            )
        model, name = source, type(source).__name__
    elif source == SCRATCH:
        (model, tokenizer), name = scratch_model(), SCRATCH
    else:
        name = str(source)
        folder = str(EMBEDDED_FOLDER) if name == EMBEDDED else expanduser(name)
        model = _load_model(name, folder)
        tokenizer = tokenizer or _load_tokenizer(name, folder)
    if tokenizer.mask_token_id is None:
        raise InputError(
            f"{name}: its tokenizer has no mask token; a masked language model is needed"
        )
    _check_together(model, tokenizer, name)
    _check_finite(model, name)
    model.eval()
    model.requires_grad_(False)
    batch = probe_batch(tokenizer, model.device)
    row = ROWS.get(model.config.model_type)
    with torch.no_grad():
        structure = discover(
            model,
            lambda: _trial_run(model, batch, name),
            model.config.get_text_config().hidden_size,
            row,
        )
    revision = getattr(model.config, "_commit_hash", None)
    encoder = Encoder(model, tokenizer, structure, Traits(), name, revision)
    return replace(encoder, traits=verified_traits(encoder))


def _check_together(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise InputError where no prompt could be encoded, or some couldn't be run."""
    row = ROWS.get(model.config.model_type)
    if row is not None and row.refused:
        raise InputError(f"{name} ({type(model).__name__}): {row.refused}")
    if model.config.is_encoder_decoder:
        raise InputError(
            f"{name} ({type(model).__name__}): an encoder-decoder, whose answer is read in the"
            " decoder; give an encoder"
        )
    config = model.config.get_text_config()  # of a model of text and images, its text's
    for size in ("hidden_size", "vocab_size"):
        if getattr(config, size, None) is None:
            raise InputError(f"{name}: its config doesn't say its {size}")
    vocabulary = tokenizer.get_vocab()
    # Without its files transformers makes up an empty tokenizer instead of failing.
    if set(vocabulary) <= set(tokenizer.all_special_tokens):
        raise InputError(f"{name}: its tokenizer has special tokens alone; are its files missing?")
    known, last = config.vocab_size, max(vocabulary.values())
    if last >= known:
        raise InputError(
            f"{name}: its tokenizer counts tokens up to {last}, the model knows {known}: give the"
            " tokenizer that it was trained with"
        )
    # Refused by the setting: with the probe's length alone some chunks would go unnoticed.
    if getattr(model.config, "chunk_size_feed_forward", 0):
        raise InputError(f"{name}: set chunk_size_feed_forward=0 in the model's config")


def _check_finite(model: PreTrainedModel, name: str) -> None:
    """Raise InputError for a weight that is no number: every result would be none."""
    for weight, tensor in model.named_parameters():
        # A sum takes a fraction of the time of a look at each.
        if not tensor.sum().isfinite() and (bad := int((~tensor.isfinite()).sum())):
            raise InputError(
                f"model.encoder {name}: {bad} of {tensor.numel()} numbers of {weight} are NaN or"
                " infinite: the weights are damaged; fetch or train them again"
            )


def _trial_run(model: PreTrainedModel, batch: TokenBatch, name: str) -> None:
    try:
        logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        if logits.shape[:2] != batch.input_ids.shape:
            raise ValueError(f"gives logits of shape {tuple(logits.shape)}, not one set a token")
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InputError(
            f"{name} ({type(model).__name__}): doesn't run on words alone"
            f" ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
        ) from error


def _load_model(name: str, folder: str) -> PreTrainedModel:
    if name.startswith((".", "/", "~")) and not Path(folder).is_dir():
        raise InputError(f"model.encoder {name}: no such folder")
    transformers_logging.disable_progress_bar()
    model: PreTrainedModel
    try:
        model, info = AutoModelForMaskedLM.from_pretrained(
            folder,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"model.encoder {name}: not loadable as a masked LM with safetensors weights"
            f" ({str(error).strip().splitlines()[0]})"
        ) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(
            f"model.encoder {name}: its weights lack {len(missing)} tensors of"
            f" {type(model).__name__}, such as {missing[0]}; they would be random."
            " Give a checkpoint with a masked-LM head"
        )
    return model


def _load_tokenizer(name: str, folder: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"model.encoder {name}: no tokenizer there ({str(error).strip().splitlines()[0]})"
        ) from error
    return tokenizer
