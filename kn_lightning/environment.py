"""Where and with what a study was computed, for ``environment.json``."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from typing import Any

import torch
from lightning import Trainer

from kn_lightning.data.study import Study
from kn_lightning.encoders.encoder import Encoder

_PACKAGES = ("kn_lightning", "torch", "lightning", "transformers")


def environment_record(
    trainer: Trainer, encoder: Encoder, study: Study, source: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Versions, device, encoder and data with their hashes, and the settings that figures quote."""
    structure = encoder.structure
    return {
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
            "vocabulary": encoder.model.config.vocab_size,
            "parameters": sum(p.numel() for p in encoder.model.parameters()),
            "weights_sha256": weights_sha256(encoder.model),
        },
        "data": {
            "class": source,
            "sha256": study.sha256,
            "groups": len(study.groups),
            "prompts": sum(len(group.prompts) for group in study.groups),
        },
        "study": settings,
        "seconds": {},
    }


def weights_sha256(model: torch.nn.Module) -> str:
    """Hash of all parameters and buffers with their names, as they are in memory."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
