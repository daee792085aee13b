"""An encoder inside a Python package -> a folder that ``--model.encoder`` takes.

Configuration, vocabulary and weights are read as data: the package is neither installed nor
imported, and of its pickled weights nothing but tensors is loaded.
"""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Sequence, Split, WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from kn_lightning.errors import InputError

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


@dataclass(frozen=True)
class Package:
    """Where things are in a package.

    Attributes:
        folder: of ``config.json`` and ``pytorch_model.bin``.
        vocabulary: a token a line.
        dropped: regular expression of the tensors that a masked LM has no use for, in full.
    """

    folder: str
    vocabulary: str
    dropped: str


ANTIBERTY = Package(
    "antiberty/trained_models/AntiBERTy_md_smooth",
    "antiberty/trained_models/vocab.txt",
    # Positions are counted anew today; the other heads tell species, chain and grafting.
    r"bert\.embeddings\.position_ids|bert\.pooler\..*|cls\.(species|chain|graft)\..*",
)
RXNMAPPER = Package(
    "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k",
    "rxnmapper/models/transformers/albert_heads_8_uspto_all_1310k/vocab.txt",
    r"albert\.pooler\..*",
)


def write_encoder(package: Package, place: Path, token: str, folder: Path) -> None:
    """Write weights as safetensors, configuration and tokenizer.

    Args:
        package: what is where in it.
        place: its wheel, or the folder that it was installed into.
        token: regular expression of one token of its language.
        folder: is made.

    Raises:
        InputError: a file is missing there, its weights are more than tensors, or they are not
            those of a masked LM of its configuration.
    """
    with _root(place) as root:
        config = json.loads(_content(root, f"{package.folder}/config.json", place))
        weights = _content(root, f"{package.folder}/pytorch_model.bin", place)
        vocabulary = _content(root, package.vocabulary, place).decode().splitlines()
    model = masked_lm(config, tensors(weights, place), package.dropped, place)
    model.save_pretrained(folder)
    tokenizer(vocabulary, token, model.config.max_position_embeddings).save_pretrained(folder)


def tensors(content: bytes, place: Path) -> dict[str, Tensor]:
    """The tensors that ``torch.save`` pickled; anything else is refused before it is made."""
    try:
        # The saved tensors may be a GPU's.
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        why = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{place}: its weights are no plain tensors, not loaded ({why})"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(one, Tensor) for one in state.values()):
        raise InputError(f"{place}: its weights are no table of tensors, not loaded")
    return state


def masked_lm(
    config: dict[str, Any], state: dict[str, Tensor], dropped: str, place: Path
) -> PreTrainedModel:
    """The model of a configuration with all its weights, and with no others left over."""
    kind = config["model_type"]
    # Old files also hold defaults of text generation, and paths.
    known = AutoConfig.for_model(kind).to_dict().keys() - {"architectures", "_name_or_path"}
    values = {key: config[key] for key in sorted(known & config.keys() - {"model_type"})}
    values.pop("transformers_version", None)
    model: PreTrainedModel = AutoModelForMaskedLM.from_config(AutoConfig.for_model(kind, **values))
    kept = {name: one for name, one in state.items() if not re.fullmatch(dropped, name)}
    try:
        missing, left = model.load_state_dict(kept, strict=False)
    except RuntimeError as error:
        why = str(error).strip().splitlines()[-1].strip()
        raise InputError(f"{place}: its weights don't fit its configuration ({why})") from error
    if missing or left:
        raise InputError(f"{place}: tensors missing {missing}, without a place {left}")
    loaded = model.state_dict()
    for name, one in kept.items():
        # Two tensors that differ would have ended in one where the model ties them.
        if not torch.equal(loaded[name], one):
            raise InputError(f"{place}: {name} is tied to a tensor that differs")
    return model.eval()


def tokenizer(vocabulary: list[str], token: str, max_length: int) -> PreTrainedTokenizerBase:
    """A tokenizer that cuts text into ``token``s, with or without spaces between them.

    ``[MASK]`` and a sequence's tokens stand side by side in a prompt. What is no token becomes
    ``[UNK]``, and nothing is dropped.
    """
    ids = {token: number for number, token in enumerate(vocabulary)}
    cut = Tokenizer(WordLevel(ids, unk_token=SPECIAL["unk_token"]))
    cut.pre_tokenizer = Sequence([WhitespaceSplit(), Split(Regex(token), "isolated")])
    cut.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(one, ids[one]) for one in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(tokenizer_object=cut, model_max_length=max_length, **SPECIAL)


@contextmanager
def _root(place: Path) -> Iterator[Traversable]:
    if place.is_dir():
        yield place
    elif zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            yield zipfile.Path(archive)
    else:
        raise InputError(
            f"{place}: give a wheel, or the folder that the package was installed into"
        )


def _content(root: Traversable, name: str, place: Path) -> bytes:
    file = root.joinpath(name)
    if not file.is_file():
        raise InputError(f"{place}: has no {name}; is it the package, and the version, asked for?")
    return file.read_bytes()
