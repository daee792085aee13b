"""``python -m tests.encoders.table`` writes docs/encoders.md: what every architecture comes to."""

from __future__ import annotations

import re
from pathlib import Path

import transformers
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

from kn_lightning.encoders.rows import ROWS
from kn_lightning.errors import InputError

from .architectures import NAMES, encoder_of

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"

_HEAD = """# Encoders

Every architecture of `AutoModelForMaskedLM` in transformers {version}, each tried as a tiny random
model: {staged} run on the staged forward, {whole} by whole forward passes (the same results, more
slowly), {refused} are refused; {named} needed a row that names their neurons. The tests hold each
that runs to the whole contract (`tests/encoders/test_architectures.py`; a few paths of these random
weights are so steep that completeness to a thousandth takes 512 nodes instead of at most 64), and
this page to what they find; `python -m tests.encoders.table` writes it anew.

*Neurons* are the inputs of the named map, `{{l}}` counting layers. They are found by structure; a
*row* in `kn_lightning/encoders/rows.py` names them where they can't be. An encoder that isn't
listed needs nothing, or a row of its own:

```python
from kn_lightning.encoders.rows import ROWS, Row

ROWS["my-model-type"] = Row(second_map=r"encoder\\.blocks\\.\\d+\\.mlp\\.down")
```

`extending.md` has a worked example, and what the check says where a row is wrong.

| architecture | class | runs | neurons | row |
| --- | --- | --- | --- | --- |
"""


def page() -> str:
    """The whole page."""
    lines, kinds = [], []
    for name in NAMES:
        kind, neurons = _outcome(name)
        kinds.append(kind)
        row = ROWS.get(name)
        said = "" if row is None else "refuses" if row.refused else "names them"
        kind_class = MODEL_FOR_MASKED_LM_MAPPING_NAMES[name]
        lines.append(f"| {name} | {kind_class} | {kind} | {neurons} | {said} |\n")
    counts = {kind: kinds.count(kind) for kind in ("staged", "whole", "refused")}
    counts["named"] = sum(name in ROWS and not ROWS[name].refused for name in NAMES)
    return _HEAD.format(version=transformers.__version__, **counts) + "".join(lines)


def _outcome(name: str) -> tuple[str, str]:
    """How an architecture runs, and where its neurons are or why it is refused."""
    try:
        encoder = encoder_of(name)
    except InputError as refusal:
        # Behind the class's name, and without a remedy.
        return "refused", str(refusal).partition("): ")[2]
    found = dict.fromkeys(
        re.sub(r"\.\d+\.", ".{l}.", one, count=1) for one in encoder.structure.names
    )
    return ("staged" if encoder.traits.staged else "whole"), ", ".join(f"`{one}`" for one in found)


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
