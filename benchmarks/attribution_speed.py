"""Attribution against the PyPI package knowledge-neurons and against captum, in one run.

    python benchmarks/attribution_speed.py [--shape bert-base] [--tokens 12]
    python benchmarks/attribution_speed.py --shape bert-large --tokens 8 12 24 48 --layers 4
    python benchmarks/attribution_speed.py --encoder DIR [--prompts_file FILE.jsonl]

The first on random weights of a known shape; the last on a trained encoder (``embedded``: the
package's own), where paths bend and the rules' errors differ; a second cell then says how many
steps the other codes need for the error of ``adaptive`` over the same prompts, and times those
steps. All get the same model on the CPU in float32, its parameters without gradients. The package
gets one prompt at a time and the fastest of its batch sizes, found on one layer first; captum is
timed with one prompt at a time and with several. This project gets all prompts at once, but those
checked alone with rules of 10 nodes and more, which make as many rows of fewer prompts. Fixed rules
are compared with captum's at as many nodes, ``adaptive`` and the package with captum's of 20.

With ``--layers`` the other codes are timed in so many layers, as many above the middle as below,
and their time is taken as that of all (a layer costs them a whole forward pass and a backward one
down to it); each row says so. Speed alone is measured then, with captum's rule of 5 nodes, and this
project gets as many prompts as fill one climb.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from accuracy import TRUTH, accuracy, difference, fewest_nodes
from other_codes import STEPS, captum_code, fastest_captum_code, package_code, several
from setting import (
    SHAPES,
    arguments,
    evenly,
    keep,
    random_encoder,
    random_prompts,
    ratios,
    trained_prompts,
)
from timed import SEVERAL, Code, gflop_a_prompt, seconds_a_prompt, speed
from torch import Tensor

from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.loading import load_encoder
from kn_lightning.schema import EncodedPrompt

PACKAGE = f"knowledge-neurons, {STEPS} steps"
CAPTUM = {nodes: f"captum Gauss-Legendre, {nodes} nodes" for nodes in (5, 10, STEPS)}
SAME_RULE = {
    PACKAGE: f"linspace, {STEPS} nodes",
    **{captum: f"gauss_legendre, {nodes} nodes" for nodes, captum in CAPTUM.items()},
}
RULE_OF = {"package": "linspace", "captum": "gauss_legendre"}
"""Of this project, each the same as the other code's."""
FEW = 5
MANY = 10
"""Rules of so many nodes get the checked prompts alone."""
CLIMB_TOKENS = 2000
"""About so many rows x tokens fill a climb; a path of the fewest nodes has three rows a layer."""
CAPTUM_PROMPTS = 8
"""So many prompts at least are there for captum to take together."""
ADAPTIVE = {
    "adaptive, tolerance 0.1 %": AttributionSettings(tolerance=0.001),
    "adaptive, tolerance 1 %": AttributionSettings(tolerance=0.01),
}
FIXED = (
    ("gauss_legendre", 5), ("gauss_legendre", 10), ("gauss_legendre", STEPS),
    ("gauss_lobatto", STEPS), ("linspace", STEPS),
)  # fmt: skip
FURTHER_FIXED = (
    ("gauss_lobatto", 5), ("gauss_lobatto", 10), ("riemann_left", STEPS),
    ("riemann_right", STEPS), ("riemann_midpoint", STEPS), ("trapezoid", STEPS),
)  # fmt: skip


def rules(*fixed: tuple[str, int]) -> dict[str, AttributionSettings]:
    """``adaptive`` and some fixed rules, by name."""
    named = {f"{rule}, {nodes} nodes": AttributionSettings(rule, nodes) for rule, nodes in fixed}
    return {**ADAPTIVE, **named}


def some_layers(n_layers: int, count: int) -> list[int]:
    """So many of an encoder's layers, evenly spread, as many above the middle as below."""
    low = [int((i + 0.5) * n_layers / count - 0.5) for i in range(count // 2)]
    return [*low, *(n_layers - 1 - layer for layer in reversed(low))]


def own_code(encoder: Encoder, settings: AttributionSettings, together: int) -> Code:
    """This project as it is timed."""

    def run(prompts: Sequence[EncodedPrompt]) -> Tensor:
        return attribute_encoded(encoder, list(prompts), settings).scores

    return Code.of(encoder, run, together)


def captum_codes(
    encoder: Encoder,
    prompts: Sequence[EncodedPrompt],
    nodes: int,
    layers: Sequence[int] | None = None,
) -> dict[str, Code]:
    """Captum with one prompt at a time, and with several."""
    name = CAPTUM[nodes]
    return {
        name: captum_code(encoder, nodes, 1, layers),
        name + SEVERAL: captum_code(encoder, nodes, several(prompts, nodes), layers),
    }


def speeds(
    encoder: Encoder, prompts: list[EncodedPrompt], together: int, rounds: int, n_layers: int
) -> dict[str, Any]:
    """Rows of speed alone, the other codes timed in some layers, this project ``together``."""
    layers = some_layers(encoder.structure.n_layers, n_layers)
    package, size = package_code(encoder, prompts, layers)
    name = CAPTUM[FEW]
    codes = {PACKAGE: package, **captum_codes(encoder, prompts, FEW, layers)}
    five = AttributionSettings("gauss_legendre", FEW)
    for rule, settings in {**ADAPTIVE, SAME_RULE[name]: five}.items():
        codes[rule] = own_code(encoder, settings, together)
    checked = prompts[:2]
    theirs = codes[name].run(checked)
    ours = attribute_encoded(encoder, checked, five).scores[:, layers]
    each = seconds_a_prompt(codes, prompts, rounds)
    return {
        "rows": [
            {
                **speed(rule, code, each, PACKAGE, name),
                "gflop_a_prompt": gflop_a_prompt(code, prompts),
            }
            for rule, code in codes.items()
        ],
        "package_batch_size": size,
        "largest_relative_difference": {name: difference(theirs, ours)},
        "layers_of_other_codes": layers,
    }


def measured(
    encoder: Encoder,
    prompts: list[EncodedPrompt],
    own: dict[str, AttributionSettings],
    rounds: int,
    checked: int,
) -> dict[str, Any]:
    """Rows of all rules and other codes; errors are those of the first ``checked`` prompts."""
    few = prompts[:checked]
    truth = attribute_encoded(encoder, few, TRUTH)
    results = {name: attribute_encoded(encoder, few, rule) for name, rule in own.items()}
    package, size = package_code(encoder, prompts)
    codes = {PACKAGE: package}
    for nodes in CAPTUM:
        codes |= captum_codes(encoder, prompts, nodes)
    same = {}
    for name, code in codes.items():
        some = few[: min(2, code.together)]
        ours = results[SAME_RULE[name.removesuffix(SEVERAL)]].scores[: len(some)]
        same[name] = difference(code.run(some), ours)
    for name, rule in own.items():
        many = rule.nodes is not None and rule.nodes >= MANY
        codes[name] = own_code(encoder, rule, len(few if many else prompts))
    each = seconds_a_prompt(codes, prompts, rounds)
    rows = []
    for name, code in codes.items():
        result = results[SAME_RULE.get(name.removesuffix(SEVERAL), name)]
        captum = CAPTUM[own[name].nodes or STEPS] if name in own else CAPTUM[STEPS]
        rows.append(
            {
                **speed(name, code, each, PACKAGE, captum),
                "gflop_a_prompt": gflop_a_prompt(code, prompts),
                "evaluations_a_layer": float(result.evaluations.double().mean()),
                **accuracy(result, truth),
            }
        )
    return {"rows": rows, "package_batch_size": size, "largest_relative_difference": same}


def equal_error(
    encoder: Encoder, prompts: list[EncodedPrompt], rounds: int
) -> list[dict[str, Any]]:
    """How many steps the other codes need for ``adaptive``'s error, and how long they then take."""
    truth = attribute_encoded(encoder, prompts, TRUTH)

    @cache
    def error(settings: AttributionSettings) -> float:
        return accuracy(attribute_encoded(encoder, prompts, settings), truth)["error_p95"]

    others: dict[str, Callable[[int], Code]] = {
        "package": lambda steps: package_code(encoder, prompts, steps=steps)[0],
        "captum": lambda nodes: fastest_captum_code(encoder, prompts, nodes),
    }
    codes: dict[str, Code] = {}
    needed: dict[tuple[str, str], int] = {}
    for name, settings in ADAPTIVE.items():
        codes[name] = own_code(encoder, settings, len(prompts))
        for of, code in others.items():
            nodes = needed[name, of] = fewest_nodes(error, RULE_OF[of], error(settings))
            if f"{of}, {nodes}" not in codes:
                codes[f"{of}, {nodes}"] = code(nodes)
    each = seconds_a_prompt(codes, prompts, rounds)
    rows = []
    for name, settings in ADAPTIVE.items():
        row = {"rule": name, "error_p95": error(settings), "seconds_a_prompt": median(each[name])}
        for of, rule in RULE_OF.items():
            nodes = needed[name, of]
            theirs = f"{of}, {nodes}"
            row |= {
                f"{of}_steps": nodes,
                f"{of}_error_p95": error(AttributionSettings(rule, nodes)),
                f"{of}_prompts_at_a_time": codes[theirs].together,
                f"{of}_seconds_a_prompt": median(each[theirs]),
                f"times_faster_than_{of}": ratios(each[theirs], each[name])[0],
            }
        rows.append(row)
    return rows


def of_shape(options: Any) -> None:
    """Measure and keep a cell of random weights for each number of tokens."""
    encoder = random_encoder(options.shape)
    about = {"rounds": options.rounds, "quick": options.quick}
    for tokens in options.tokens:
        where = f"{options.shape}, {tokens} tokens"
        if options.layers is None:
            prompts = random_prompts(encoder, options.prompts, tokens)
            result = measured(encoder, prompts, rules(*FIXED), options.rounds, options.checked)
            cell, further = f"random weights, {where}", {"checked": options.checked}
        else:
            rows = 3 * encoder.structure.n_layers
            together = min(options.prompts, max(1, CLIMB_TOKENS // (rows * tokens)))
            prompts = random_prompts(encoder, max(together, CAPTUM_PROMPTS), tokens)
            result = speeds(encoder, prompts, together, options.rounds, options.layers)
            cell, further = f"speed alone, {where}", {}
        keep("attribution_speed", cell, prompts=len(prompts), **further, **about, **result)


def of_trained(options: Any) -> None:
    """Measure and keep the two cells of a trained encoder."""
    encoder = load_encoder(options.encoder)
    prompts = evenly(trained_prompts(encoder, options.prompts_file), options.prompts)
    about = {"prompts": len(prompts), "rounds": options.rounds, "quick": options.quick}
    cell = f"trained weights, {Path(options.encoder).name}"
    if options.prompts_file is not None:
        cell += f", {options.prompts_file.stem}"
    every = rules(*FIXED, *FURTHER_FIXED)
    result = measured(encoder, prompts, every, options.rounds, len(prompts))
    keep("attribution_speed", cell, **about, **result)
    rows = equal_error(encoder, prompts, options.rounds)
    keep("attribution_speed", f"at equal error, {cell}", rows, **about)


def main() -> None:
    """Measure and keep cells."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--tokens", type=int, nargs="+", default=[12])
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checked", type=int, default=4, help="prompts whose errors are measured")
    parser.add_argument("--layers", type=int, help="other codes' timed layers: an even number")
    parser.add_argument("--encoder", help="trained: folder or Hub id, instead of a shape")
    parser.add_argument("--prompts_file", type=Path, help="JSONL of groups for --encoder")
    options = parser.parse_args()
    if options.quick:
        options.shape, options.prompts, options.rounds, options.checked = "tiny", 4, 1, 2
    (of_shape if options.encoder is None else of_trained)(options)


if __name__ == "__main__":
    main()
