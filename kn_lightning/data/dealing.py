"""Packs of a study -> those that each rank computes: dealt beforehand, or taken one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush

from kn_lightning.data.study import Pack


def dealt_packs(packs: Sequence[Pack], ranks: int) -> list[list[Pack]]:
    """The packs of each rank: the dearest are dealt first, each to the rank with least so far."""
    loads = [(0.0, rank) for rank in range(ranks)]
    dealt: list[list[Pack]] = [[] for _ in loads]
    for pack in dearest_first(packs):
        load, rank = heappop(loads)
        dealt[rank].append(pack)
        heappush(loads, (load + pack.cost, rank))
    return [sorted(packs, key=lambda pack: pack.number) for packs in dealt]


def dearest_first(packs: Sequence[Pack]) -> list[Pack]:
    """By their estimated cost; those of the same cost in their order."""
    return sorted(packs, key=lambda pack: -pack.cost)


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
