"""Finished runs -> which neurons pairs share: synonyms of one run, sentences of two.

The commands ``analyze.py synonyms`` and ``analyze.py symmetry``: an answer to read, and one row a
pair as CSV.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.table import Table

from kn_lightning.data.synonym_pairs import Pair, read_pairs, wordnet_pairs
from kn_lightning.errors import InputError
from kn_lightning.files import write_whole
from kn_lightning.own_files import check_not_of_a_run
from kn_lightning.parsing import parsed, subcommand
from kn_lightning.printable import printable
from kn_lightning.remote_folder import run_folder
from kn_lightning.report.numerals import number, p_value, probability, with_interval
from kn_lightning.report.pairing import DRAWS, Pairing
from kn_lightning.report.rankings import concept_pos
from kn_lightning.report.statistics import ALPHA
from kn_lightning.report.symmetry import Symmetry, symmetry
from kn_lightning.report.synonyms import Synonyms, synonyms
from kn_lightning.report.tables import RunTables, run_tables

_PIPED_WIDTH = 100
"""Columns of text where no terminal says how many it has."""

_METHOD = (
    f"The mean Jaccard index |A ∩ B| / |A ∪ B| of the pairs; that with partners permuted, over"
    f" {DRAWS:,} draws; p: the share of draws whose mean is as large (one-sided)."
)


def _add_output(parser: ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, help="CSV file to write, one row a pair")


def synonyms_parser() -> ArgumentParser:
    """The flags of ``analyze.py synonyms``."""
    parser = subcommand("synonyms", "Do concepts that are synonyms share knowledge neurons?")
    parser.add_argument("run_dir", help="a finished run folder, or its address")
    parser.add_argument(
        "--pairs",
        type=Path,
        help="file of two words a line, separated by a tab or a comma; without it, concepts that"
        " share a synset of WordNet",
    )
    parser.add_argument(
        "--senses",
        type=int,
        help="of WordNet, only the first so many senses of each word; they are in the order of"
        " their frequency",
    )
    _add_output(parser)
    return parser


def symmetry_parser() -> ArgumentParser:
    """The flags of ``analyze.py symmetry``."""
    parser = subcommand(
        "symmetry", "Is a fact in the same neurons, whichever of its words is asked?"
    )
    parser.add_argument("run_a", help="a finished run folder, or its address")
    parser.add_argument("run_b", help="another of the same sentences, another word masked")
    _add_output(parser)
    return parser


def answer_synonyms(arguments: Sequence[str]) -> None:
    """Print how alike the knowledge neurons of synonyms are.

    Raises:
        InputError: a flag that makes no sense, a run that isn't finished, or no pair of its
            concepts.
    """
    given = parsed(synonyms_parser(), arguments)
    if given.senses is not None and (given.pairs is not None or given.senses < 1):
        remedy = "leave it out beside --pairs" if given.pairs else "give at least 1"
        raise InputError(f"senses {given.senses}: {remedy}")
    _check_output(given.output)
    pairs = None if given.pairs is None else read_pairs(given.pairs)
    folder = run_folder(given.run_dir)
    tables = replace(run_tables(folder.fetch()), name=folder.name)
    if pairs is None:
        pairs, source = wordnet_synonyms(tables, given.senses)
    else:
        pairs, source = pairs_of(tables, pairs, given.pairs)
    found = synonyms(tables, pairs)
    _write(given.output, found.pairs)
    _say(folder.name, source, *_synonyms_rows(found))


def answer_symmetry(arguments: Sequence[str]) -> None:
    """Print how alike the coarse neurons of the two prompts of a sentence are.

    Raises:
        InputError: a run that isn't finished, or two that can't be compared.
    """
    given = parsed(symmetry_parser(), arguments)
    _check_output(given.output)
    folders = [run_folder(name) for name in (given.run_a, given.run_b)]
    # What a user calls them: two runs may lie in folders of one name.
    a, b = (replace(run_tables(folder.fetch()), name=folder.name) for folder in folders)
    found = symmetry(a, b)
    _write(given.output, found.pairs)
    n = len(found.pairs)
    source = f"{n:,} sentences of both, of {len(a.prompts):,} and {len(b.prompts):,} prompts"
    _say(" and ".join(folder.name for folder in folders), source, *_symmetry_rows(found))


def wordnet_synonyms(tables: RunTables, senses: int | None) -> tuple[list[Pair], str]:
    """Pairs of the run's concepts by WordNet, and what is said of them."""
    parts = {
        str(concept): None if pd.isna(part) else str(part)
        for concept, part in concept_pos(tables.prompts).items()
    }
    pairs = wordnet_pairs(parts, senses)
    if not pairs:
        raise InputError(
            f"{tables.name}: no two of its {len(parts)} concepts share a synset of WordNet; study"
            " more concepts, or give --pairs FILE"
        )
    return pairs, f"{len(pairs):,} pairs of its {len(parts):,} concepts share a WordNet synset"


def pairs_of(tables: RunTables, given: list[Pair], path: Path) -> tuple[list[Pair], str]:
    """Those of the file's pairs that are concepts of the run, and what is said of them."""
    concepts = set(tables.prompts["concept"])
    pairs = [pair for pair in given if concepts.issuperset(pair)]
    if not pairs:
        raise InputError(
            f"pairs {path}: of none of {len(given)} pairs are both words concepts of {tables.name}"
            f" (the first: {', '.join(given[0])}; a concept of it: {min(concepts)}); give pairs of"
            " its concepts"
        )
    return pairs, (
        f"{len(pairs):,} of the {len(given):,} pairs in {path} are both concepts of the run,"
        f" {len(given) - len(pairs):,} are not"
    )


def _synonyms_rows(found: Synonyms) -> tuple[dict[str, Pairing], str]:
    more = _more(found.knowledge)
    verdict = {
        None: "No pair can be compared: each is alone in its part of speech, or without neurons.",
        True: "Synonyms share more knowledge neurons than the same words in other pairs do.",
        False: "Nothing here says that synonyms share more knowledge neurons than the same words in"
        " other pairs do.",
    }[more]
    n_same = int((found.pairs["same_prompts"] > 0).sum())
    return (
        {
            "knowledge neurons of the words": found.knowledge,
            "coarse neurons of their prompts": found.coarse,
        },
        f"{verdict} Partners were permuted within their part of speech. Synonyms also stand in like"
        f" sentences ({n_same:,} pairs have a prompt in common, word for word), so sharing does not"
        " tell a meaning from its contexts.",
    )


def _symmetry_rows(found: Symmetry) -> tuple[dict[str, Pairing], str]:
    more = _more(found.relation)
    verdict = {
        None: "No sentence can be compared: each is alone in its relation, or without neurons.",
        True: "The two prompts of a sentence share more coarse neurons than prompts of different"
        " sentences of the relation do.",
        False: "Nothing here says that the two prompts of a sentence share more coarse neurons than"
        " prompts of different sentences of the relation do.",
    }[more]
    alone = ""
    if more is not None and not found.template.n:
        alone = " No template has two sentences."
    rows = {"permuted within the relation": found.relation}
    if found.template.n:
        rows["permuted within the template"] = found.template
    return (
        rows,
        f"{verdict}{alone} A template is the sentence without its two words. The prompts see one"
        " sentence but for the masked words, so sharing may come from its words: it does not show"
        " that one place serves both directions.",
    )


def _more(found: Pairing) -> bool | None:
    return None if found.p is None else found.p < ALPHA


def _say(runs: str, source: str, rows: dict[str, Pairing], verdict: str) -> None:
    """To standard output; in colour, and as wide as it is, on a terminal alone."""
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in ("pairs", "mean [95 %]", "permuted", "times", "p"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, found in rows.items():
        table.add_row(
            name,
            f"{found.n:,}",
            with_interval(probability, found.mean, found.interval),
            probability(found.mean_permuted),
            number(found.times),
            p_value(found.p),
        )
    console.print(printable(f"{runs}: {source}"), table, verdict, _METHOD, sep="\n")


def _check_output(path: Path | None) -> None:
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"output {path}: a folder; give a file's name")
    check_not_of_a_run("output", path)


def _write(path: Path | None, rows: pd.DataFrame) -> None:
    if path is not None:
        write_whole(path, rows.to_csv(index=False, lineterminator="\n"))
