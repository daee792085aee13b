"""A code as it is timed: on how many prompts at a time, and in which layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from operations import CountedOperations
from setting import paired_rounds, ratios
from torch import Tensor

from kn_lightning.encoders.encoder import Encoder
from kn_lightning.schema import EncodedPrompt

SEVERAL = ", several prompts"
"""Ends the name of captum's row of more than one prompt at a time."""


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
    """A row of a table of speed, against the package's and captum's rows.

    Args:
        name: of the code.
        code: as it was timed.
        each: of all codes, :func:`seconds_a_prompt`.
        package: the name of the package's row.
        captum: the name of captum's row of one prompt at a time.
    """
    faster, worst = ratios(each[package], each[name])
    return {
        "rule": name,
        "prompts_at_a_time": code.together,
        "layers_timed": code.layers_timed,
        "seconds_a_prompt": median(each[name]),
        "times_faster_than_package": faster,
        "worst_round": worst,
        "times_faster_than_captum": ratios(each[captum], each[name])[0],
        "than_captum_of_several": ratios(each[captum + SEVERAL], each[name])[0],
    }


def gflop_a_prompt(code: Code, prompts: Sequence[EncodedPrompt]) -> float:
    """What torch counts of the products that a code runs, of all layers, in 10^9 operations."""
    with CountedOperations() as counted:
        code.run(prompts[: code.together])
    return counted.total * code.layers[1] / code.layers[0] / code.together / 1e9
