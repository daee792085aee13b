"""What the report's package may import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kn_lightning.report
from kn_lightning.report.canvas import LOOKS, OTHER_LOOK


def test_import_is_cheap() -> None:
    code = (
        "import sys, kn_lightning\n"
        "before = set(sys.modules)\n"
        "import kn_lightning.report\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "heavy = new & {'matplotlib', 'seaborn', 'pandas', 'pyarrow', 'jinja2'}\n"
        "heavy |= new & {'numpy', 'scipy', 'torch'}\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_report_imports_no_model_library() -> None:
    folder = Path(kn_lightning.report.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            roots = {name.split(".")[0] for name in names}
            assert not roots & {"torch", "lightning", "transformers", "wandb"}, path.name


def test_colours_are_seaborns_colorblind_palette() -> None:
    seaborn = pytest.importorskip("seaborn")
    palette = set(seaborn.color_palette("colorblind").as_hex())
    assert {look.color for look in [*LOOKS.values(), OTHER_LOOK]} <= palette
