"""Where and with what a study was computed, for ``environment.json``."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from lightning import Trainer

from kn_lightning.config_files import flat_settings
from kn_lightning.data.addresses import public_url
from kn_lightning.data.modules import PromptGroups
from kn_lightning.data.unrelated import UnrelatedPrompts
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.fingerprint import config_sha256, tokens_sha256, weights_sha256
from kn_lightning.secret_names import is_ordinary, is_secret

_PACKAGES = ("kn_lightning", "torch", "lightning", "transformers", "nltk")


_STUDY = ("model.", "data.", "refine.", "edit.", "write.", "trainer.precision")
"""Settings that make a study what it is; devices and loggers may differ when it is resumed."""
_NOT_STUDY = (
    # training
    "model.learning_rate",
    "model.weight_decay",
    "model.warmup_steps",
    "data.init_args.batch_size",
    "data.init_args.validation_share",
    # memory
    "model.row_tokens",
    # what was read counts, by its hash, not where it lay
    "data.init_args.path",
    "data.init_args.url",
)
_ENCODER = ("weights_sha256", "config_sha256", "tokens_sha256")
"""What two encoders must share to be one, and their prompts to be the same."""
_FILES = ("refine.neurons", "refine.facts")
"""Settings that name a file: what is in it counts, not where it lies."""


def environment_record(
    trainer: Trainer, encoder: Encoder, data: PromptGroups, config: dict[str, Any]
) -> dict[str, Any]:
    """Versions, device, encoder and data with their hashes, and the settings that figures quote.

    Of folders and files of this machine it keeps the names alone: reports are shown to others.
    """
    study = data.study
    assert study is not None
    structure = encoder.structure
    settings = flat_settings(config)
    unrelated = UnrelatedPrompts(
        encoder,
        study.groups,
        settings["edit.unrelated"],
        study.beyond,
        settings.get("edit.unrelated_prompts"),
        study.several,
    )
    keys = ("answers", "attribution", "compare", "rule", "nodes", "tolerance", "path", "candidates")
    quoted = [f"model.{key}" for key in keys]
    quoted += [key for key in settings if key.startswith(("refine.", "edit."))]
    record = {
        "versions": {"python": platform.python_version(), **{p: version(p) for p in _PACKAGES}},
        "platform": platform.platform(),
        "device": trainer.strategy.root_device.type,
        "devices": trainer.world_size,
        "precision": str(trainer.precision),
        "encoder": {
            "id": encoder.name,
            "revision": encoder.revision,
            "model_type": encoder.model.config.model_type,
            "n_layers": structure.n_layers,
            "n_neurons": structure.n_neurons,
            "hidden_size": structure.hidden_size,
            "vocabulary": encoder.model.config.get_text_config().vocab_size,
            "parameters": sum(p.numel() for p in encoder.model.parameters()),
            "weights_sha256": weights_sha256(encoder.model),
            "config_sha256": config_sha256(encoder),
            "tokens_sha256": tokens_sha256(encoder, study, unrelated),
        },
        "data": {
            "class": type(data).__name__,
            "sha256": study.sha256,
            "pos_sha256": study.pos_sha256,
            "groups": len(study.groups),
            "prompts": sum(len(group.prompts) for group in study.groups),
            "origin": data.origin(),
        },
        "study": {
            **{key.split(".", 1)[1]: settings.get(key) for key in quoted},
            "unrelated": unrelated.name,
            "unrelated_prompts": unrelated.foreign_texts(),
        },
        "seconds": {},
    }
    named: dict[str, Any] = shareable(record)
    return named


def study_identity(config: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """What a resumed run must share with the one before: settings and hashes, flat."""
    settings = study_settings(config)
    if Path(folder := settings["model.encoder"]).is_dir():  # from wherever it is named
        settings["model.encoder"] = str(Path(folder).absolute())
    return {
        **shareable(settings),
        **{f"data.{key}": record["data"][key] for key in ("sha256", "pos_sha256")},
        **{f"encoder.{key}": record["encoder"][key] for key in _ENCODER},
    }


def study_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings that make a study what it is, flat; the hash of a file instead of its path."""
    return {
        key: _sha256(Path(value)) if key in _FILES and value else value
        for key, value in flat_settings(config).items()
        if key.startswith(_STUDY) and key not in _NOT_STUDY
    }


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def shareable(value: Any) -> Any:
    """Nested settings as they may be shown.

    Absolute paths are cut down to their last part, addresses to what names no user and no key.
    """
    if isinstance(value, dict):
        return {key: shareable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shareable(inner) for inner in value]
    if isinstance(value, str):
        if value.startswith(("http://", "https://")):
            return public_url(value)
        for path in (PurePosixPath(value), PureWindowsPath(value)):
            if path.name and (path.is_absolute() or value.startswith("~")):
                return path.name
    return value


def without_secrets(value: Any, of_trainer: bool = False) -> Any:
    """Nested settings as a run folder keeps them: no key, and addresses without user and query.

    Paths stay: ``--config config.yaml`` makes the same study on this machine. For that ``key`` or
    ``tokens`` alone, as of a column, is left out of the trainer's settings only.

    Args:
        value: the settings, or a part of them.
        of_trainer: whether that part is the trainer's, with its loggers.
    """
    if isinstance(value, dict):
        kept = {}
        for key, inner in value.items():
            name = str(key)
            hidden = is_secret(name, inner) and (of_trainer or not is_ordinary(name))
            kept[key] = None if hidden else without_secrets(inner, of_trainer or key == "trainer")
        return kept
    if isinstance(value, list):
        return [without_secrets(inner, of_trainer) for inner in value]
    return public_url(value) if isinstance(value, str) and "://" in value else value
