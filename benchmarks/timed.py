"""A code as it is timed: on how many prompts at a time, and in which layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from setting import paired_rounds, ratios
from torch import Tensor

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt


@dataclass(frozen=True)
class Code:
    """A code of attribution.

    Attributes:
        run: scores of prompts, ``[B, L, I]``, or of its layers alone.
        together: prompts of a call.
        layers: so many are timed, of all.
    """

    run: Callable[[Sequence[EncodedPrompt]], Tensor]
    together: int
    layers: tuple[int, int]

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        run: Callable[[Sequence[EncodedPrompt]], Tensor],
        together: int,
        layers: Sequence[int] | None = None,
    ) -> Code:
        """A code that is timed in some of an encoder's layers, or in all."""
        every = encoder.structure.n_layers
        return cls(run, together, (every if layers is None else len(layers), every))

    @property
    def layers_timed(self) -> str:
        """As a table says it."""
        some, every = self.layers
        return "all" if some == every else f"{some} of {every}, times {every / some:g}"


def seconds_a_prompt(
    codes: Mapping[str, Code], prompts: Sequence[EncodedPrompt], rounds: int
) -> dict[str, list[float]]:
    """Of each code in each round, of all layers; a round takes the prompts behind the last one's.

    A code that is timed in some layers is taken to need as much in each.
    """

    def call(code: Code) -> Callable[[int], object]:
        def run(number: int) -> object:
            first = number * code.together
            places = range(first, first + code.together)
            return code.run([prompts[place % len(prompts)] for place in places])

        return run

    times = paired_rounds({name: call(code) for name, code in codes.items()}, rounds)
    return {
        name: [one * code.layers[1] / code.layers[0] / code.together for one in times[name]]
        for name, code in codes.items()
    }


def speed(
    name: str, code: Code, each: Mapping[str, list[float]], package: str, captum: str
) -> dict[str, Any]:
    """A row of a table of speed, against the package's and captum's rows."""
    faster, worst = ratios(each[package], each[name])
    return {
        "rule": name,
        "prompts_at_a_time": code.together,
        "layers_timed": code.layers_timed,
        "seconds_a_prompt": median(each[name]),
        "times_faster_than_package": faster,
        "worst_round": worst,
        "times_faster_than_captum": ratios(each[captum], each[name])[0],
    }
