"""Packs that any rank may compute are each one rank's alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kn_lightning.pack_claims import PackClaims, begin_claims, end_claims


def test_each_pack_is_one_ranks_however_many_ask_at_once(tmp_path: Path) -> None:
    folder = tmp_path / begin_claims(tmp_path)

    def rank(_: int) -> list[int]:
        claims = PackClaims(folder)
        return [number for number in range(200) if claims.take(number)]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(rank, range(8)))
    assert sorted(number for own in taken for number in own) == list(range(200))


def test_rank_of_an_earlier_start_takes_nothing_of_the_next(tmp_path: Path) -> None:
    outlived = PackClaims(tmp_path / begin_claims(tmp_path))
    assert outlived.take(0)
    now = PackClaims(tmp_path / begin_claims(tmp_path))
    assert not outlived.take(1)
    assert now.take(0)
    assert now.take(1)
    assert not now.take(1)


def test_ending_removes_claims_alone(tmp_path: Path) -> None:
    PackClaims(tmp_path / begin_claims(tmp_path)).take(7)
    (tmp_path / "claims-of-mine").mkdir()
    (tmp_path / "parts").mkdir()
    end_claims(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["claims-of-mine", "parts"]
