"""Do synonyms share neurons, and do the two prompts of a sentence?

    python benchmarks/shared_neurons.py [--encoder DIR --lama FILE] [--max_groups 600]

``analyze.py`` runs twice on the testbed, or on the encoder and the file in LAMA's form that are
named: with subjects masked, and with objects. Then follow the tests of ``analyze.py synonyms`` and
``analyze.py symmetry``. Of the testbed's facts the object is the last word of the cue.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from setting import arguments, keep
from study import analyzed

from kn_lightning.command import run_command
from kn_lightning.data.facts import FACTS, embedded_groups
from kn_lightning.data.synonym_pairs import Pair, read_pairs
from kn_lightning.report.pairing import Pairing
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.symmetry import symmetry
from kn_lightning.report.synonyms import Synonyms, synonyms
from kn_lightning.report.tables import RunTables, run_tables
from kn_lightning.schema import MASK
from kn_lightning.sharing import pairs_of, wordnet_synonyms

FEW_EDITS = ["--edit.factors", "[0]", "--edit.max_prompts", "1", "--edit.others", "0"]
FEW_EDITS += ["--edit.control_seeds", "0"]
QUICK = ["--model.rule", "gauss_legendre", "--model.nodes", "3"]
N_PAIRS = 6
"""The pairs most alike that are kept."""


def testbed_records() -> Iterator[dict[str, Any]]:
    """The testbed's sentences in LAMA's form, their subjects being its concepts."""
    lines = FACTS.read_text(encoding="utf-8").splitlines()
    facts = {one["concept"]: one["facts"] for one in map(json.loads, lines)}
    for group in embedded_groups():
        for prompt in group.prompts:
            cue = facts[group.concept][prompt.relation]
            end = prompt.text.lower().index(cue.lower()) + len(cue)
            word = cue.split()[-1]
            around = prompt.text[: end - len(word)], prompt.text[end:]
            sentence = MASK.join(part.replace(MASK, group.concept) for part in around)
            yield {
                "sub": group.concept,
                "obj_label": word,
                "pred": prompt.relation,
                "masked_sentences": [sentence],
            }


def row(pairs: str, found: Pairing) -> dict[str, Any]:
    """Of one comparison: the mean Jaccard index with its 95 % bootstrap interval."""
    low, high = found.interval or (None, None)
    return {
        "pairs": pairs,
        "n": found.n,
        "mean": found.mean,
        "from": low,
        "to": high,
        "permuted": found.mean_permuted,
        "times": found.times,
        "p": found.p,
    }


def synonym_pairs(tables: RunTables, file: Path | None, senses: int | None = None) -> list[Pair]:
    """WordNet's, or those of the file whose words are both concepts of the run."""
    if file is None:
        return wordnet_synonyms(tables, senses)[0]
    return pairs_of(tables, read_pairs(file), file)[0]


def of_synonyms(tables: RunTables, file: Path | None) -> tuple[list[dict[str, Any]], Synonyms]:
    """Rows of the table, and the answer of all pairs."""
    found = synonyms(tables, synonym_pairs(tables, file))
    rows = [row("synonyms, knowledge neurons", found.knowledge)]
    if file is None:
        first = synonyms(tables, synonym_pairs(tables, None, senses=1))
        rows.append(row("synonyms by the first sense of both, knowledge neurons", first.knowledge))
    apart = found.pairs[found.pairs["same_prompts"] == 0]
    if len(apart):
        others = synonyms(tables, [*zip(apart["a"], apart["b"], strict=True)])
        rows.append(row("synonyms without a prompt in common, knowledge neurons", others.knowledge))
    return [*rows, row("synonyms, coarse neurons of their prompts", found.coarse)], found


def answers(folder: Path, options: argparse.Namespace) -> tuple[list[dict[str, Any]], Any]:
    """Both runs, the rows of all comparisons, and what is kept beside them."""
    lama, source = options.lama, ["--data.max_groups", str(options.max_groups)]
    if lama is None:
        lama = folder / "testbed.jsonl"
        lines = [json.dumps(record) + "\n" for record in testbed_records()]
        lama.write_text("".join(lines), encoding="utf-8")
        source += ["--data.max_words", "null"]
    flags = ["--model.encoder", options.encoder, "--data", "LamaPrompts", "--data.path", str(lama)]
    # Partners are permuted within their part of speech.
    flags += [*source, "--data.tag_pos", "true", *FEW_EDITS, *(QUICK if options.quick else [])]
    further: dict[str, Any] = {}
    tables = []
    for mask in ("subject", "object"):
        numbers = analyzed(folder / mask, [*flags, "--data.mask", mask])
        tables.append(run_tables(folder / mask))
        between = numbers["consistency"]["random_expectation"]
        further[mask] = {**numbers["counts"], "jaccard_between_concepts": between}
        # None without the tagger's data: more words are then taken for synonyms.
        further[mask]["with_part_of_speech"] = int(concept_pos(tables[-1].prompts).notna().sum())
    rows, found = of_synonyms(tables[0], options.pairs)
    further["synonyms"] = {
        "pairs_with_a_prompt_in_common": int((found.pairs["same_prompts"] > 0).sum()),
        "shared_median": float(found.pairs["shared"].median()),
        "most_alike": found.pairs[["a", "b", "jaccard", "shared"]].head(N_PAIRS).to_dict("records"),
    }
    both = symmetry(*tables)
    rows.append(row("sentences, permuted within the relation", both.relation))
    rows.append(row("sentences, permuted within the template", both.template))
    return rows, further


def main() -> None:
    """Run both studies and keep their cell."""
    parser = arguments(__doc__)
    parser.add_argument("--encoder", default="embedded")
    parser.add_argument("--lama", type=Path, help="file in LAMA's form; the testbed's facts unless")
    parser.add_argument("--max_groups", type=int, default=600, help="first concepts of either run")
    parser.add_argument("--pairs", type=Path, help="two words a line; WordNet's synonyms unless")
    parser.add_argument("--cell", help="name of the result; default: the encoder's")
    options = parser.parse_args()
    options.max_groups = 12 if options.quick else options.max_groups
    with tempfile.TemporaryDirectory() as folder:
        rows, further = answers(Path(folder), options)
    name = options.cell or Path(options.encoder).name
    keep("shared_neurons", name, rows, options.quick, **further)


if __name__ == "__main__":
    run_command(main)
