"""A Hub id, a folder, ``embedded`` or a model object -> a verified encoder."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from os.path import expanduser
from pathlib import Path
from typing import NoReturn

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import (
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from kn_lightning.core.forward import TokenBatch
from kn_lightning.data.addresses import public_url
from kn_lightning.encoders.contract import probe_batch, verified_traits
from kn_lightning.encoders.discovery import discover
from kn_lightning.encoders.encoder import Encoder, Traits
from kn_lightning.encoders.finite import check_finite
from kn_lightning.encoders.rows import ROWS
from kn_lightning.encoders.scratch import scratch_model
from kn_lightning.errors import InputError
from kn_lightning.files import checked_path

EMBEDDED = "embedded"
SCRATCH = "scratch"
_NEWEST = "main"
EMBEDDED_FOLDER = Path(__file__).parent.parent / "assets" / "encoder"


def load_encoder(
    source: str | Path | PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None = None
) -> Encoder:
    """Load a masked LM, find its neurons and check them.

    Args:
        source: a Hub id, with ``@revision`` for another than its newest, a local folder,
            ``"embedded"`` (the small BERT of this package),
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
        folder, revision = located(name)
        model = _load_model(name, folder, revision)
        tokenizer = tokenizer or _load_tokenizer(name, folder, revision)
    if tokenizer.mask_token_id is None:
        raise InputError(
            f"{name}: its tokenizer has no mask token; a masked language model is needed"
        )
    _check_together(model, tokenizer, name)
    check_finite(model, name)
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
    commit = getattr(model.config, "_commit_hash", None)
    encoder = Encoder(model, tokenizer, structure, Traits(), name, commit)
    return replace(encoder, traits=verified_traits(encoder))


def located(name: str, flag: str = "model.encoder") -> tuple[str, str]:
    """Where transformers finds an encoder: its folder or Hub id, and the revision there.

    Args:
        name: as :func:`load_encoder` takes it.
        flag: that gave it, for messages.

    Raises:
        InputError: an address, a name that no folder can have, or a revision of a folder, which has
            none.
    """
    if name == EMBEDDED:
        return str(EMBEDDED_FOLDER), _NEWEST
    folder = expanduser(name)
    checked_path(flag, folder)
    user = name.partition("@")[0]  # without its scheme an address may have one, too
    if "://" in name or ("@" in name and ":" in user and not Path(folder).exists()):
        raise InputError(
            f"{flag} {public_url(name)}: an address; give a Hub id such as"
            " google-bert/bert-base-cased, or a folder"
        )
    place, at, revision = folder.rpartition("@")
    if not (at and place and revision) or Path(folder).exists():
        return folder, _NEWEST
    if Path(place).exists():
        raise InputError(
            f"{flag} {name}: {place} is a folder, which has no revisions; give the folder of"
            f" {revision}, or {place} alone"
        )
    return place, revision


def reason(error: Exception) -> str:
    """What transformers says of a folder that it can't load, in one line.

    Raises:
        MemoryError: that was the error, and the folder may be whole.
    """
    if isinstance(error, MemoryError):
        raise error
    first, *others = [line.strip() for line in str(error).strip().splitlines()] or [""]
    said = " ".join([first, *others[:1]]) if first.endswith(":") else first
    # Of these the message is a sentence; of a KeyError it is a word.
    speaks = said and isinstance(error, OSError | ValueError | RuntimeError | ImportError)
    return said if speaks else f"{type(error).__name__}: {said}".removesuffix(": ")


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
        raise InputError(
            f"{name}: its tokenizer has special tokens alone; put its files, such as"
            " tokenizer.json, into the folder"
        )
    known, last = config.vocab_size, max(vocabulary.values())
    if last >= known:
        raise InputError(
            f"{name}: its tokenizer counts tokens up to {last}, the model knows {known}: give the"
            " tokenizer that it was trained with"
        )
    # Refused by the setting: with the probe's length alone some chunks would go unnoticed.
    if getattr(model.config, "chunk_size_feed_forward", 0):
        raise InputError(f"{name}: set chunk_size_feed_forward=0 in the model's config")


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


def _load_model(name: str, folder: str, revision: str) -> PreTrainedModel:
    if name.startswith((".", "/", "~")) and not Path(folder).is_dir():
        raise InputError(f"model.encoder {name}: no such folder; give a folder or a Hub id")
    model: PreTrainedModel
    try:
        with quiet(), _nothing_unpickled():
            model, info = AutoModelForMaskedLM.from_pretrained(
                folder,
                revision=revision,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,  # refused below, by their names
                output_loading_info=True,
            )
    except Exception as error:  # what a broken folder raises is transformers' business
        raise InputError(
            f"model.encoder {name}: not loadable as a masked LM with safetensors weights"
            f" ({reason(error)}); {_advice(name, folder, str(error))}"
        ) from error
    missing, resized = sorted(info["missing_keys"]), sorted(info["mismatched_keys"])
    if missing:
        raise InputError(
            f"model.encoder {name}: its weights lack {len(missing)} tensors of"
            f" {type(model).__name__}, such as {missing[0]}; they would be random."
            " Give a checkpoint with a masked-LM head"
        )
    if resized:
        tensor, there, wanted = resized[0]
        raise InputError(
            f"model.encoder {name}: {tensor} is {list(there)} in its weights and {list(wanted)} by"
            " its config.json; give the config that it was trained with"
        )
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and reports, and the Hub's of each try: one line says it all."""
    before, hub = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        transformers_logging.set_verbosity(before)
        hub_logging.set_verbosity(hub)


@contextmanager
def _nothing_unpickled() -> Iterator[None]:
    """Pickled weights are an error here, whatever names them.

    ``use_safetensors=True`` doesn't keep transformers from a ``.bin`` that config.json or the list
    of weights in parts names.
    """

    def refuse(file: object, *_: object, **__: object) -> NoReturn:
        raise ValueError(f"{Path(str(file)).name} is pickled, no model.safetensors")

    before = torch.load
    torch.load = refuse  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.load = before


def _advice(name: str, folder: str, error: str) -> str:
    """What to do where transformers can't load an encoder."""
    local = Path(folder)
    if local.is_file():
        return "it is a file: give its folder"
    if "custom code" in error or "trust_remote_code" in error:
        return "code that comes with a model is never run: give one of transformers' architectures"
    if "model.safetensors" in error and (not local.is_dir() or any(local.glob("*.bin"))):
        target = name if local.is_dir() else name.rpartition("/")[2]
        return (
            "pickled weights can run any code: convert them where you trust them, with `python -c"
            f' "from transformers import AutoModelForMaskedLM, AutoTokenizer; m = {name!r};'
            f" t = {target!r};"
            " AutoTokenizer.from_pretrained(m).save_pretrained(t);"
            " AutoModelForMaskedLM.from_pretrained(m, use_safetensors=False).save_pretrained(t)"
            f'"` and give {target}'
        )
    if not local.is_dir():
        return "check the id and the network, or download it elsewhere and give its folder"
    return "give a folder that save_pretrained of a masked LM has written, whole"


def _load_tokenizer(name: str, folder: str, revision: str) -> PreTrainedTokenizerBase:
    try:
        with quiet():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, revision=revision, trust_remote_code=False
            )
            tokenizer("a 字 ψ")  # some of what is broken shows at text with what it doesn't know
    except Exception as error:  # what broken files raise is transformers' business
        raise InputError(
            f"model.encoder {name}: no tokenizer there that can be read ({reason(error)});"
            " put its files, such as tokenizer.json, into the folder"
        ) from error
    return tokenizer
