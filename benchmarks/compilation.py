"""What ``torch.compile`` would gain: one layer's forward and backward, compiled and as it is.

    python benchmarks/compilation.py [--device cuda]

Most of a climb is matrix products, which compilation leaves alone; this says what it makes of the
rest, and what it costs to begin with. On bert-base's layer, 12 tokens, dynamic numbers of rows.
"""

from __future__ import annotations

import torch
from setting import arguments, keep, paired_rounds, random_encoder, ratios, seconds

TOKENS = 12


def main() -> None:
    """Time both."""
    parser = arguments(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 180])
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    options = parser.parse_args()
    encoder = random_encoder("tiny" if options.quick else "bert-base")
    device = torch.device(options.device)
    layer = encoder.structure.layers[0].to(device)
    compiled = torch.compile(layer, dynamic=True)
    table = []
    for n_rows in options.rows[: 1 if options.quick else None]:
        shape = (n_rows, TOKENS, encoder.structure.hidden_size)
        hidden = torch.randn(shape, device=device, requires_grad=True)

        def run(module: torch.nn.Module, hidden: torch.Tensor = hidden) -> None:
            torch.autograd.grad(module(hidden).sum(), hidden)
            if hidden.is_cuda:
                torch.cuda.synchronize()

        run(layer)  # a device's own start is no compilation
        first = seconds(lambda: run(compiled))
        runs = {"as it is": lambda _: run(layer), "compiled": lambda _: run(compiled)}
        times = paired_rounds(runs, 2 if options.quick else options.rounds)
        gain, worst = ratios(times["as it is"], times["compiled"])
        table.append(
            {
                "rows": n_rows,
                "times faster": round(gain, 3),
                "worst round": round(worst, 3),
                "seconds of the first call": round(first, 1),
            }
        )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    keep("compilation", f"bert-base, {TOKENS} tokens, {name}", table, options.quick)


if __name__ == "__main__":
    main()
