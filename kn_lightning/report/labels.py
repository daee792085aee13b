"""Names in ``summary.json`` → what they are called in sentences, tables and figures."""

from __future__ import annotations

from typing import Any

from kn_lightning.report.language import plural, say
from kn_lightning.report.numerals import GAP, MINUS, count, number

Summary = dict[str, Any]


def kind_label(kind: str, numbers: Summary) -> str:
    """A kind of prompts and neurons."""
    labels = {
        "own": say("own prompts"),
        "other": say("other concepts' prompts"),
        "unrelated": say(
            "prompts of “{concept}”", concept=numbers["environment"]["study"]["unrelated"]
        ),
        "negated": say("prompts that say the opposite"),
        "random": say("random neurons, own prompts"),
        "activation": say("most active neurons, own prompts"),
        "foreign": say("another concept's neurons, own prompts"),
    }
    return labels.get(kind, kind)


def edit_label(edit: str) -> str:
    """An edit in words, with the factor that its neurons are multiplied by."""
    name, _, factor = edit.partition(":")
    labels = {
        "suppress": say("suppress ({times})", times=times("0")),
        "amplify": say("amplify ({times})", times=times("2")),
        "factor": say("scale ({times})", times=times(factor)),
    }
    return labels.get(name, edit)


def times(factor: str) -> str:
    """A factor as it is written: "-1" → "× −1"."""
    return f"×{GAP}{factor.replace('-', MINUS)}"


def edit_title(edit: str) -> str:
    """An edit at the beginning of a sentence."""
    label = edit_label(edit)
    return label[:1].upper() + label[1:]


def main_edits(numbers: Summary) -> list[str]:
    """The edits shown one by one; where there are many factors, the dose curve has the others."""
    edits = list(numbers["changes"])
    named = [edit for edit in edits if not edit.startswith("factor:")]
    return named if named and numbers["doses"] else edits


def pos_label(pos: str | None) -> str:
    """A part of speech, or a group of them."""
    labels = {
        None: say("not given"),
        "noun": say("noun"),
        "verb": say("verb"),
        "adjective": say("adjective"),
        "adverb": say("adverb"),
        "verb/adjective/adverb": say("verb, adjective, adverb"),
        "other": say("other"),
    }
    return labels.get(pos, str(pos))


def test_label(test: str) -> str:
    """A statistical test."""
    return {
        "wilcoxon": say("Wilcoxon signed-rank test"),
        "mann_whitney": say("Mann–Whitney U test"),
        "kolmogorov_smirnov": say("Kolmogorov–Smirnov test"),
    }[test]


def effect(row: dict[str, Any]) -> str:
    """The effect size of a test with its name: "rank-biserial r = 0.41"."""
    names = {"rank_biserial": say("rank-biserial r"), "ks_distance": say("distance D")}
    return f"{names[row['effect']]}{GAP}={GAP}{number(row['effect_size'])}"


def concepts(n: int) -> str:
    """A number of concepts: "264 concepts"."""
    return plural(n, "{n} concept", "{n} concepts")


def prompts(n: int) -> str:
    """A number of prompts: "3,168 prompts"."""
    return plural(n, "{n} prompt", "{n} prompts")


def attributions(n: int) -> str:
    """A number of attributions: "12,672 attributions"."""
    return plural(n, "{n} attribution", "{n} attributions")


def mean_of_pairs(row: dict[str, Any] | None) -> str:
    """A mean with its number of pairs: "0.06 (n = 870)"."""
    return number(None) if row is None else f"{number(row['mean'])} (n = {count(row['n_pairs'])})"


def listed(*items: str) -> str:
    """Several things in one line; they may have commas of their own."""
    return say("; ").join(items)


def interval(low: str, high: str) -> str:
    """A range of two values in words: "−50.1 % to −20.2 %"."""
    return say("{low} to {high}", low=low, high=high)
