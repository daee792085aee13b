"""An encoder from outside: no class, config or name of it is known to transformers or the package.

What its author writes to have it studied is :data:`ROW`, and for the plain one nothing.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput

from kn_lightning.encoders.rows import Row

from .tiny import HEADS, HIDDEN, LAYERS, NEURONS, POSITIONS, word_tokenizer

STRANGERS = ("guild", "guild with scribes")

ROW = {"guild": Row(second_map=r"street\.\d+\.fold")}
"""Scribes have a wider block behind the feed-forward block, that would be taken for it."""


class GuildConfig(PreTrainedConfig):
    """Says its hidden_size and vocab_size, which is all that is asked of it."""

    model_type = "guild"

    def __init__(self, scribes: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scribes = scribes
        self.vocab_size = len(word_tokenizer())
        self.hidden_size = HIDDEN


class Stall(nn.Module):
    """Attention, then a feed-forward block, then perhaps its scribes."""

    def __init__(self, scribes: bool) -> None:
        super().__init__()
        self.ask, self.offer, self.goods, self.bag = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.stretch, self.fold = nn.Linear(HIDDEN, NEURONS), nn.Linear(NEURONS, HIDDEN)
        if scribes:
            wide = 2 * NEURONS
            self.scribes = nn.Sequential(
                nn.Linear(HIDDEN, wide), nn.Tanh(), nn.Linear(wide, HIDDEN)
            )
        self.dawn, self.dusk = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)

    def haggle(self, crowd: Tensor, absent: Tensor) -> Tensor:
        ask, offer, goods = (
            one(crowd).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for one in (self.ask, self.offer, self.goods)
        )
        match = ask @ offer.mT / math.sqrt(HIDDEN // HEADS)
        match = match.masked_fill(absent[:, None, None], -1e4).softmax(-1)
        return self.bag((match @ goods).transpose(1, 2).flatten(2))

    def forward(self, crowd: Tensor, absent: Tensor) -> Tensor:
        crowd = self.dawn(crowd + self.haggle(crowd, absent))
        crowd = self.dusk(crowd + self.fold(nn.functional.gelu(self.stretch(crowd))))
        return crowd + self.scribes(crowd) if hasattr(self, "scribes") else crowd


class GuildForMaskedLM(PreTrainedModel):
    """Stalls along a street."""

    config_class = GuildConfig

    def __init__(self, config: GuildConfig) -> None:
        super().__init__(config)
        self.faces = nn.Embedding(config.vocab_size, HIDDEN)
        self.places = nn.Embedding(POSITIONS, HIDDEN)
        self.street = nn.ModuleList(Stall(config.scribes) for _ in range(LAYERS))
        self.crier = nn.Linear(HIDDEN, config.vocab_size)
        self.post_init()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> MaskedLMOutput:
        present = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        crowd = self.faces(input_ids) + self.places.weight[: input_ids.shape[1]]
        for stall in self.street:
            crowd = stall(crowd, present == 0)
        return MaskedLMOutput(logits=self.crier(crowd))


def stranger(name: str) -> GuildForMaskedLM:
    """One of the two, its weights large enough for changes to be seen."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GuildForMaskedLM(GuildConfig(scribes=name == STRANGERS[1]))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(0.4 * torch.randn_like(parameter))
    return model.eval()
