"""Packs of a study -> those that each rank computes: dealt beforehand, or taken one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush

from kn_lightning.data.study import Pack

START_TOKENS, GROUP_TOKENS, BORROWED_SHARE = 300, 40, 0.12
"""What a pack takes besides its own prompts, in tokens of these: its many small products, its
concepts' edits on unrelated and other prompts, and of each token on which its neurons are foreign
ones. Measured by ``benchmarks/balance.py``."""


class PackCost:
    """An estimate of what packs take to compute, in tokens of their own prompts.

    Args:
        borrowed: tokens of other concepts' prompts on which a concept's neurons are measured as
            foreign ones, by that concept.
    """

    def __init__(self, borrowed: Mapping[str, int] | None = None) -> None:
        self.borrowed = borrowed or {}

    def __call__(self, pack: Pack) -> float:
        """Of one pack."""
        groups = GROUP_TOKENS * len(pack.groups)
        return START_TOKENS + pack.tokens + groups + BORROWED_SHARE * self.borrowed_tokens(pack)

    def borrowed_tokens(self, pack: Pack) -> int:
        """Of its concepts together."""
        return sum(self.borrowed.get(group.concept, 0) for group in pack.groups)


def dealt_packs(packs: Sequence[Pack], ranks: int, cost: PackCost) -> list[list[Pack]]:
    """The packs of each rank: the dearest are dealt first, each to the rank with least so far."""
    loads = [(0.0, rank) for rank in range(ranks)]
    dealt: list[list[Pack]] = [[] for _ in loads]
    for pack in dearest_first(packs, cost):
        load, rank = heappop(loads)
        dealt[rank].append(pack)
        heappush(loads, (load + cost(pack), rank))
    return [sorted(packs, key=lambda pack: pack.number) for packs in dealt]


def dearest_first(packs: Sequence[Pack], cost: PackCost) -> list[Pack]:
    """By their estimated cost; those of the same cost in their order."""
    return sorted(packs, key=cost, reverse=True)


class PackLoader:
    """Packs, one after another, until the study is to stop.

    Not a DataLoader: packs lie in memory, in the order in which they are wanted.

    Args:
        packs: all that this rank may compute.
        stopped: whether the study is to end behind the pack in hand.
        take: whether this rank gets the pack of that number, asked when its turn comes; None: it
            gets all.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        stopped: Callable[[], bool],
        take: Callable[[int], bool] | None = None,
    ) -> None:
        self.packs = packs
        self.stopped = stopped
        self.take = take

    def __len__(self) -> int:
        # At the most. Without a length Lightning would fetch, so take, a pack ahead of its turn.
        return len(self.packs)

    def __iter__(self) -> Iterator[Pack]:
        for pack in self.packs:
            if self.stopped():
                return
            if self.take is None or self.take(pack.number):
                yield pack
