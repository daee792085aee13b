"""Attribution against the PyPI package knowledge-neurons and against captum, in one run.

    python benchmarks/attribution_speed.py [--shape bert-base] [--tokens 12]
    python benchmarks/attribution_speed.py --encoder DIR [--prompts_file FILE.jsonl]

The first on random weights of a known shape; the second on a trained encoder (``embedded``: the
package's own), where paths bend and the rules' errors differ; a second cell then says how many
steps the other codes need for the error of ``adaptive``. All get the same model on the CPU in
float32, its parameters without gradients. The other codes get one prompt at a time, the package
with the fastest of its batch sizes; this project gets all prompts at once, but those checked alone
with rules of 10 nodes and more, which make as many rows of fewer prompts. Fixed rules are compared
with captum's at as many nodes, ``adaptive`` and the package with captum's of 20. A cell of
bert-base takes about eight minutes on two cores.

``--layers 4`` is for large shapes: the other codes are timed in so many layers, as many above the
middle as below, and their time is taken as that of all (a layer costs them a whole forward pass and
a backward one down to it). Speed alone is measured then, and captum's rule of 5 nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from accuracy import TRUTH, accuracy, difference, fewest_nodes
from other_codes import BATCH_SIZES, STEPS, Package, captum_scores
from setting import (
    SHAPES,
    arguments,
    keep,
    paired_rounds,
    random_encoder,
    random_prompts,
    ratios,
    seconds,
    trained_prompts,
)
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
FEW = 5
MANY = 10
"""Rules of so many nodes get the checked prompts alone."""
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


def other_codes(
    encoder: Encoder,
    prompt: EncodedPrompt,
    nodes: Sequence[int] = tuple(CAPTUM),
    layers: Sequence[int] | None = None,
) -> tuple[dict[str, Callable[[EncodedPrompt], Tensor]], int]:
    """What the others make of a prompt, by their names; the package's best batch size."""
    package = Package(encoder)
    size = min(BATCH_SIZES, key=lambda size: seconds(partial(package.scores, prompt, size, layers)))
    captum = {CAPTUM[n]: partial(captum_scores, encoder, nodes=n, layers=layers) for n in nodes}
    return {PACKAGE: partial(package.scores, batch_size=size, layers=layers), **captum}, size


def speeds(
    encoder: Encoder, prompts: list[EncodedPrompt], rounds: int, n_layers: int
) -> dict[str, Any]:
    """Rows of speed alone, the other codes timed in some layers."""
    layers = some_layers(encoder.structure.n_layers, n_layers)
    whole = encoder.structure.n_layers / len(layers)
    others, size = other_codes(encoder, prompts[0], (FEW,), layers)
    five = AttributionSettings("gauss_legendre", FEW)
    own = {**ADAPTIVE, SAME_RULE[CAPTUM[FEW]]: five}
    theirs = others[CAPTUM[FEW]](prompts[0])
    ours = attribute_encoded(encoder, prompts[:1], five).scores[0, layers]
    runs: dict[str, Callable[[int], object]] = {}
    for name, scores in others.items():
        runs[name] = lambda number, of=scores: of(prompts[number % len(prompts)])  # type: ignore[misc]
    for name, rule in own.items():
        attribution = partial(attribute_encoded, encoder, prompts, rule)
        runs[name] = lambda _, attribution=attribution: attribution()  # type: ignore[misc]
    times = paired_rounds(runs, rounds)
    each = {
        name: [one * whole if name in others else one / len(prompts) for one in taken]
        for name, taken in times.items()
    }
    rows = []
    for name, a_prompt in each.items():
        faster, worst = ratios(each[PACKAGE], a_prompt)
        rows.append(
            {
                "rule": name,
                "seconds_a_prompt": median(a_prompt),
                "times_faster_than_package": faster,
                "worst_round": worst,
                "times_faster_than_captum": ratios(each[CAPTUM[FEW]], a_prompt)[0],
            }
        )
    same = {CAPTUM[FEW]: difference(theirs, ours)}
    return {
        "rows": rows, "package_batch_size": size, "largest_relative_difference": same,
        "layers_of_other_codes": layers,
    }  # fmt: skip


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
    others, size = other_codes(encoder, few[0])
    same = {
        name: difference(scores(few[0]), results[SAME_RULE[name]].scores[0])
        for name, scores in others.items()
    }
    given = {
        name: few if rule.nodes is not None and rule.nodes >= MANY else prompts
        for name, rule in own.items()
    }
    runs: dict[str, Callable[[int], object]] = {}
    for name, scores in others.items():
        runs[name] = lambda number, of=scores: of(prompts[number % len(prompts)])  # type: ignore[misc]
    for name, rule in own.items():
        attribution = partial(attribute_encoded, encoder, given[name], rule)
        runs[name] = lambda _, attribution=attribution: attribution()  # type: ignore[misc]
    times = paired_rounds(runs, rounds)
    rows = []
    for name, taken in times.items():
        a_prompt = [one / len(given.get(name, "1")) for one in taken]
        result = results[SAME_RULE.get(name, name)]
        faster, worst = ratios(times[PACKAGE], a_prompt)
        captum = CAPTUM[own[name].nodes or STEPS] if name in own else CAPTUM[STEPS]
        rows.append(
            {
                "rule": name,
                "seconds_a_prompt": median(a_prompt),
                "times_faster_than_package": faster,
                "worst_round": worst,
                "times_faster_than_captum": ratios(times[captum], a_prompt)[0],
                "evaluations_a_layer": float(result.evaluations.double().mean()),
                **accuracy(result, truth),
            }
        )
    return {"rows": rows, "package_batch_size": size, "largest_relative_difference": same}


def equal_error(
    encoder: Encoder, prompts: list[EncodedPrompt], rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """How many steps the other codes need for ``adaptive``'s error, and how long they then take.

    Their time is taken as proportional to their steps.
    """
    taken = {row["rule"]: row["seconds_a_prompt"] for row in rows}
    truth = attribute_encoded(encoder, prompts, TRUTH)
    found = []
    for name, settings in ADAPTIVE.items():
        target = accuracy(attribute_encoded(encoder, prompts, settings), truth)["error_p95"]
        row = {"rule": name, "error_p95": target}
        for code, of in ((PACKAGE, "package"), (CAPTUM[STEPS], "captum")):
            rule = SAME_RULE[code].partition(",")[0]
            nodes, error = fewest_nodes(encoder, prompts, truth, rule, target)
            row[f"{of}_steps"], row[f"{of}_error_p95"] = nodes, error
            row[f"times_faster_than_{of}"] = taken[code] * nodes / STEPS / taken[name]
        found.append(row)
    return found


def main() -> None:
    """Measure and keep one cell, or two of a trained encoder."""
    parser = arguments(__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="bert-base")
    parser.add_argument("--tokens", type=int, default=12)
    parser.add_argument("--prompts", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--checked", type=int, default=4, help="prompts whose errors are measured")
    parser.add_argument("--layers", type=int, help="other codes' timed layers: an even number")
    parser.add_argument("--encoder", help="trained: folder or Hub id, instead of a shape")
    parser.add_argument("--prompts_file", type=Path, help="JSONL of groups for --encoder")
    options = parser.parse_args()
    if options.quick:
        options.shape, options.prompts, options.rounds, options.checked = "tiny", 4, 1, 2
    about = {"rounds": options.rounds, "quick": options.quick}
    if options.encoder is None:
        encoder = random_encoder(options.shape)
        prompts = random_prompts(encoder, options.prompts, options.tokens)
        if options.layers is not None:
            result = speeds(encoder, prompts, options.rounds, options.layers)
            cell = f"speed alone, {options.shape}, {options.tokens} tokens"
            keep("attribution_speed", cell, prompts=len(prompts), **about, **result)
            return
        result = measured(encoder, prompts, rules(*FIXED), options.rounds, options.checked)
        cell = f"random weights, {options.shape}, {options.tokens} tokens"
        checked = options.checked
        keep("attribution_speed", cell, prompts=len(prompts), checked=checked, **about, **result)
        return
    encoder = load_encoder(options.encoder)
    prompts = trained_prompts(encoder, options.prompts_file, options.prompts)
    cell = f"trained weights, {Path(options.encoder).name}"
    if options.prompts_file is not None:
        cell += f", {options.prompts_file.stem}"
    every = rules(*FIXED, *FURTHER_FIXED)
    result = measured(encoder, prompts, every, options.rounds, len(prompts))
    few = prompts[: options.checked]
    rows = equal_error(encoder, few, result["rows"])
    keep("attribution_speed", cell, prompts=len(prompts), **about, **result)
    keep("attribution_speed", f"at equal error, {cell}", rows, prompts=len(few), **about)


if __name__ == "__main__":
    main()
