r"""A whole study of an encoder of another kind, out of a Python package: antibodies, or chemistry.

    pip download --no-deps antiberty==0.1.3     # 97 MB: a BERT of 8 layers, of antibodies
    pip download --no-deps rxnmapper==0.4.3     # 3 MB: an ALBERT, 12 passes through one layer
    python benchmarks/other_encoders.py --package antiberty --wheel antiberty-0.1.3*.whl
    python benchmarks/other_encoders.py --package rxnmapper --wheel rxnmapper-0.4.3*.whl \
        --tolerance 0.01

``--wheel`` may also be the folder of ``pip install --no-deps --target FOLDER``. The packages are
no extras of this one: rxnmapper asks for transformers 4, and neither is imported. Prompts are
sequences with one residue or token masked; ``analyze.py`` runs on them as on any JSONL file, with
its defaults but ``--tolerance``, and its report is kept with ``--folder``. ALBERT's shared layer
moves the answer steeply in its first passes, which takes many nodes.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masked_sequences import ANTIBODY, REACTION, Language, write_prompts
from packaged import ANTIBERTY, RXNMAPPER, Package, write_encoder
from setting import arguments, keep
from study import analyzed

from kn_lightning.command import run_command

KINDS = ("random", "activation", "foreign", "other", "unrelated")
"""What is compared with a concept's own neurons on its own prompts: other neurons, and others'
prompts."""
FEW_CONCEPTS = 5
Numbers = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """An encoder, and the language that it is asked in."""

    package: Package
    language: Language


SUBJECTS = {
    "antiberty": Subject(ANTIBERTY, ANTIBODY),
    "rxnmapper": Subject(RXNMAPPER, REACTION),
}


def run_study(
    subject: Subject, place: Path, folder: Path, tolerance: float, max_groups: int | None
) -> Numbers:
    """Convert, write prompts, run ``analyze.py``: its summary, and the command's ``seconds``."""
    encoder, prompts = folder / "encoder", folder / "prompts.jsonl"
    write_encoder(subject.package, place, subject.language.token, encoder)
    write_prompts(prompts, subject.language, max_groups)
    flags = [
        "--model.encoder", str(encoder), "--data", "JsonlPrompts", "--data.path", str(prompts),
        "--model.tolerance", str(tolerance),
    ]  # fmt: skip
    began = time.perf_counter()
    numbers = analyzed(folder / "run", flags)
    return numbers | {"seconds": time.perf_counter() - began}


def found(numbers: Numbers) -> list[Numbers]:
    """What was asked, whether the encoder knows it, and how many neurons were found."""
    known, neurons, encoder = (
        numbers["known"],
        numbers["neurons"],
        numbers["environment"]["encoder"],
    )
    return [
        {
            "layers": encoder["n_layers"],
            "neurons_a_layer": encoder["n_neurons"],
            "concepts": numbers["counts"]["concepts"],
            "prompts": numbers["counts"]["prompts"],
            "first_guess_right": known["share_rank_1"],
            "median_probability": known["median_probability"],
            "tolerance": numbers["completeness"]["tolerance"],
            "evaluations_a_layer": numbers["completeness"]["evaluations_per_layer"],
            "neurons_found": neurons["total"],
            "distinct": neurons["distinct"],
            "median_a_concept": neurons["per_concept"]["median"],
            "concepts_without": numbers["concepts_without_neurons"],
            "study_seconds": numbers["seconds"],
        }
    ]


def by_layer(numbers: Numbers) -> list[Numbers]:
    """Neurons of each layer; one that several concepts have counts once as distinct."""
    return [
        {"layer": name} | {str(layer): count for layer, count in enumerate(counts)}
        for name, counts in (
            ("neurons", numbers["neurons"]["by_layer"]),
            ("distinct", numbers["neurons"]["distinct_by_layer"]),
        )
    ]


def changes(numbers: Numbers) -> list[Numbers]:
    """Median relative change of the answer's probability over concepts, by edit and kind."""
    compared = {(row["edit"], row["control"]): row for row in numbers["controls"]}
    rows = []
    for edit, kinds in numbers["changes"].items():
        random = compared.get((edit, "random"), {})
        rows.append(
            {"edit": edit, "own": kinds["own"]["median"]}
            | {kind: kinds.get(kind, {}).get("median") for kind in KINDS}
            | {
                "own_moves_more_than_random": random.get("own_moves_more"),
                "p_adjusted": random.get("p_adjusted"),
            }
        )
    return rows


def main() -> None:
    """Run one study and keep its three cells."""
    parser = arguments(__doc__)
    parser.add_argument("--package", choices=SUBJECTS, required=True)
    parser.add_argument(
        "--wheel", type=Path, required=True, help="or the folder it is installed in"
    )
    parser.add_argument("--folder", type=Path, help="keeps encoder, prompts and the run; a new one")
    parser.add_argument("--tolerance", type=float, default=0.001, help="of the quadrature")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        numbers = run_study(
            SUBJECTS[options.package],
            options.wheel,
            options.folder or Path(temporary),
            options.tolerance,
            FEW_CONCEPTS if options.quick else None,
        )
    for name, rows in (
        ("what was found", found(numbers)),
        ("neurons by layer", by_layer(numbers)),
        ("median relative changes", changes(numbers)),
    ):
        keep("other_encoders", f"{options.package}, {name}", rows, options.quick)


if __name__ == "__main__":
    run_command(main)
