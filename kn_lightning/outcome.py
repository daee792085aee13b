"""What is known of a pack of groups; each stage adds its part, in the data's way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from kn_lightning.core.comparison import Compared
from kn_lightning.core.neurons import CoarseNeurons, RefinedNeurons
from kn_lightning.core.similarity import Similarity
from kn_lightning.data.study import Pack
from kn_lightning.schema import Attribution, EncodedGroup, EncodedPrompt, Neuron


@dataclass
class Outcome:
    """Results of one pack.

    Attributes:
        pack: the groups.
        attribution: of all prompts of the pack, group after group (``predict_step``).
        compared: scores of the attributions that it is compared with, by name (``predict_step``).
        coarse: coarse neurons of those prompts (refine).
        refined: refined neurons of each group (refine).
        similarity: of the scores of each group's prompts (refine).
        edits: rows of the edits table (edit).
        weight_edits: rows of the table of weight edits (weights), where they are asked for.
        values: what the neurons' value vectors promote, rows of their table without the prompts
            that activate them most (values), where that is asked for.
        keys: the prompts of the pack that activate each neuron most (values).
        seconds: time spent by stage.
    """

    pack: Pack
    attribution: Attribution
    coarse: CoarseNeurons | None = None
    refined: list[RefinedNeurons] = field(default_factory=list)
    edits: pa.Table | None = None
    similarity: Similarity | None = None
    weight_edits: pa.Table | None = None
    values: pa.Table | None = None
    keys: pa.Table | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    compared: dict[str, Compared] = field(default_factory=dict)

    @property
    def prompts(self) -> list[EncodedPrompt]:
        """All prompts, in the order of ``attribution``."""
        return [prompt for group in self.pack.groups for prompt in group.prompts]

    def groups(self) -> Iterator[tuple[EncodedGroup, slice]]:
        """Each group with the place of its prompts in ``attribution``."""
        start = 0
        for group in self.pack.groups:
            yield group, slice(start, start + len(group.prompts))
            start += len(group.prompts)

    def neurons(self, group: int) -> list[Neuron]:
        """The refined neurons of the pack's ``group``-th concept."""
        refined = self.refined[group]
        pairs = zip(refined.layer.tolist(), refined.neuron.tolist(), strict=True)
        return [Neuron(*pair) for pair in pairs]
