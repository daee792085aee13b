"""Packs that any rank may compute: each is for the rank that claims it first."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from pathlib import Path

from kn_lightning.part_names import part_name, part_number

CLAIMS = r"claims-[0-9a-f]{32}"
"""Pattern of the names of folders with claims."""


class PackClaims:
    """An empty file for each pack that a rank has claimed; no more is exchanged between ranks.

    Args:
        folder: of this start of the study alone, so that a rank that has outlived a killed run
            claims nothing of the next.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, number: int) -> bool:
        """Whether the pack is this rank's from now on."""
        try:
            # Made by one process alone, on shared disks too.
            (self.folder / part_name(number)).touch(exist_ok=False)
        except FileExistsError:
            return False
        except FileNotFoundError:  # the study was begun again, and this rank isn't of it
            return False
        return True


def begin_claims(run: Path) -> str:
    """Make the folder of a start, and remove earlier ones; its name in the run folder."""
    end_claims(run)
    name = f"claims-{uuid.uuid4().hex}"
    (run / name).mkdir()
    return name


def end_claims(run: Path) -> None:
    """Remove all claims that are there, and their folders unless something else lies in them."""
    for left in run.iterdir():
        if re.fullmatch(CLAIMS, left.name) and not left.is_symlink():
            with suppress(OSError):
                for claim in left.iterdir():
                    if part_number(claim.name) is not None:
                        claim.unlink(missing_ok=True)
                left.rmdir()
