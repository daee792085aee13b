"""Packs that any rank may compute are each one rank's alone."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kn_lightning.data.dealing import PackLoader
from kn_lightning.data.study import Pack
from kn_lightning.pack_claims import PackClaims, begin_claims, end_claims


def test_each_pack_is_one_ranks_however_many_ask_at_once(tmp_path: Path) -> None:
    folder = tmp_path / begin_claims(tmp_path)

    def rank(_: int) -> list[int]:
        claims = PackClaims(folder)
        return [number for number in range(200) if claims.take(number)]

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(rank, range(8)))
    assert sorted(number for own in taken for number in own) == list(range(200))


@given(
    st.integers(0, 12),
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.integers(0, 3)),
)
def test_ranks_that_take_turns_in_any_way_and_die_leave_what_the_next_start_computes(
    n_packs: int, turns: list[int], turns_of_the_next: list[int]
) -> None:
    packs = [Pack(number, ()) for number in range(n_packs)]
    done: list[int] = []
    with tempfile.TemporaryDirectory() as name:
        for schedule in (turns, [*turns_of_the_next, *[0] * (n_packs + 1)]):
            claims = PackClaims(Path(name) / begin_claims(Path(name)))
            left = [pack for pack in packs if pack.number not in done]
            ranks = [iter(PackLoader(left, bool, claims.take)) for _ in range(4)]
            for rank in schedule:  # who isn't in it any more is dead
                done += [pack.number for pack in [next(ranks[rank], None)] if pack is not None]
            assert len(set(done)) == len(done)
    assert sorted(done) == list(range(n_packs))


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


def test_what_else_lies_among_claims_stays(tmp_path: Path) -> None:
    claims = tmp_path / begin_claims(tmp_path)
    PackClaims(claims).take(3)
    (claims / "thesis.txt").write_text("mine")
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "000001").write_text("mine")
    (tmp_path / f"claims-{'0' * 32}").symlink_to(elsewhere)
    end_claims(tmp_path)
    assert [path.name for path in claims.iterdir()] == ["thesis.txt"]
    assert (elsewhere / "000001").read_text() == "mine"
