"""Sequences of tokens without words -> prompt groups: a token is the concept, masked where it is.

Residues of antibodies and tokens of reactions are no words, but the question is the same: what
stands here? An antibody's residues are masked where its framework keeps them whatever the antigen,
a reaction's tokens wherever they occur.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kn_lightning.files import write_whole
from kn_lightning.schema import MASK, Prompt, PromptGroup

FOLDER = Path(__file__).parent / "sequences"
BLANK = "_"
N_PROMPTS = 4
"""Of a concept, as few as the paper asks for."""


@dataclass(frozen=True)
class Language:
    """What sequences are made of, and what is asked about them.

    Attributes:
        sequences: a file of names and sequences.
        token: regular expression of one token.
        contexts: for each concept, what may stand around it, with ``_`` in its place.
    """

    sequences: Path
    token: str
    contexts: Mapping[str, tuple[str, ...]]


ANTIBODY = Language(
    FOLDER / "antibodies.txt",
    "[A-Z]",
    {
        "A": ("_PRLLIY", "_PKLLIY", "_TYYC", "_VYYC", "C_ASGF", "C_ASQ", "C_R"),
        "C": ("YY_", "LS_", "VS_", "TIT_", "TIS_"),
        "D": ("E_TAVYY", "E_FA", "E_EADYY", "GT_FTL"),
        "E": ("GL_W", "A_DEADYY", "QP_DFA", "VE_GGG", "A_DTAVYY"),
        "F": ("R_SGS", "GR_TISR", "T_GQGT", "V_GGGT", "_TFSS"),
        "G": ("KP_Q", "AP_K", "W_QGT", "F_QGT", "RFS_S", "LEW_"),
        "I": ("LL_Y", "FT_SRD", "LT_SS", "W_RQ", "VT_T"),
        "K": ("AP_GLEW", "QQ_PG", "DT_NQ", "GT_VE", "PP_GLEW"),
        "L": ("G_EW", "GT_VTVSS", "K_LIY", "T_TISS", "T_YLQ"),
        "M": ("LQ_NS", "AY_ELS", "EW_G", "DIQ_TQ"),
        "N": ("Y_PSLK", "SRD_", "QM_SLR", "SK_QFS"),
        "P": ("A_GKG", "K_GQ", "YN_SLK", "G_P", "Q_EDF"),
        "Q": ("WVR_", "WY_Q", "WG_GT", "FG_GT", "C_QY"),
        "R": ("WV_QAP", "WI_QPP", "_FSGS", "_FTIS", "CA_Y"),
        "S": ("VTVS_", "RF_GS", "TIS_LQ", "QFSL_L", "_LRAED"),
        "T": ("LV_VSS", "D_AVYY", "D_FTL", "GQG_", "GGG_", "F_ISRD"),
        "V": ("DTA_YY", "L_TVSS", "VT_SS", "W_RQ", "R_T", "G_PSRFS"),
        "W": ("_VRQ", "_IRQ", "_YQQ", "LE_", "_GQG"),
        "Y": ("AV_YC", "AVY_C", "AT_YC", "AD_YC", "LLI_", "W_QQ"),
    },
)

_ANYWHERE = (
    *("C", "N", "O", "F", "S", "P", "B", "Cl", "Br", "n", "=", "#"),
    *("[O-]", "[N+]", "[K+]", "[Si]"),
)

REACTION = Language(
    FOLDER / "reactions.txt",
    r"\[[^\]]+\]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|/|:|~|@|\?|>>?|\*|\$|%\d{2}|\d",
    dict.fromkeys(_ANYWHERE, (BLANK,)),
)


def read_sequences(path: Path) -> dict[str, str]:
    """Names and sequences of a file; lines that start with # are comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split() for line in lines if line and not line.startswith("#"))


def prompt_groups(language: Language) -> Iterator[PromptGroup]:
    """A group for each concept, its prompts spread evenly over where it may be masked."""
    token = re.compile(language.token)
    sequences = [token.findall(text) for text in read_sequences(language.sequences).values()]
    for concept, contexts in language.contexts.items():
        patterns = [_tokens(token, context) for context in contexts]
        places = [
            [place for place in range(len(tokens)) if _fits(tokens, place, concept, patterns)]
            for tokens in sequences
        ]
        # By rounds, so that neighbours in a round are of different sequences.
        texts = [
            "".join([*tokens[:place], MASK, *tokens[place + 1 :]])
            for number in range(max(map(len, places)))
            for tokens, found in zip(sequences, places, strict=True)
            for place in found[number : number + 1]
        ]
        different = [*dict.fromkeys(texts)]
        count = min(N_PROMPTS, len(different))
        chosen = (different[number * len(different) // count] for number in range(count))
        yield PromptGroup(concept, tuple(Prompt(text) for text in chosen))


def write_prompts(path: Path, language: Language, max_groups: int | None = None) -> None:
    """The groups as ``JsonlPrompts`` reads them."""
    groups = [*prompt_groups(language)][:max_groups]
    lines = (
        json.dumps({"concept": group.concept, "prompts": [one.text for one in group.prompts]})
        for group in groups
    )
    write_whole(path, "".join(f"{line}\n" for line in lines))


def _tokens(token: re.Pattern[str], context: str) -> tuple[list[str], list[str]]:
    """Tokens before and behind the blank."""
    before, _, behind = context.partition(BLANK)
    return token.findall(before), token.findall(behind)


def _fits(
    tokens: list[str], place: int, concept: str, patterns: list[tuple[list[str], list[str]]]
) -> bool:
    return tokens[place] == concept and any(
        tokens[max(0, place - len(before)) : place] == before
        and tokens[place + 1 : place + 1 + len(behind)] == behind
        for before, behind in patterns
    )
