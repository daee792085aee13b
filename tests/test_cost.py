"""What attribution and edits cost, in floating-point operations: the same on every machine.

A guard against slowing down, where seconds would depend on the machine. The operations of matrix
products are counted as they run, and held to what was counted when this was written, and to what
is needed by this formula. So are all operators that are dispatched and the bytes that they write,
for work between the products shows in neither.

With T tokens, H wide, I neurons and V words, a row for layer l has its first change behind that
layer, at the mask. Forward it needs

- of layer l itself nothing: its neurons' map is linear, and its output is known for all factors;
- of layer l+1 queries, keys and values at the mask alone, 6 H^2, and the rest as above that;
- of each layer above T (8 H^2 + 4 H I) for its linear maps, and 4 T^2 H for attention;
- of the last layer the mask's query, attention's output and feed-forward alone, 4 H^2 + 4 H I, keys
  and values of all tokens, 4 T H^2, and attention of one query, 4 T H;
- of the head its transform, 2 H^2, and the vocabulary, 2 V H.

A gradient by the activations alone costs linear maps once more, attention twice, and of the
vocabulary the mean of its rows, 2 V H; 2 H I a path bring it to the neurons. The base pass runs all
layers for all tokens; its own gradient goes back to the first layer's neurons' map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any
from unittest import mock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count
from transformers import BertConfig, BertForMaskedLM, BertTokenizer

from kn_lightning import load_encoder
from kn_lightning.attribution import AttributionSettings, attribute_encoded
from kn_lightning.core.edits import row_edits
from kn_lightning.data.encoding import encode_group
from kn_lightning.data.facts import embedded_groups
from kn_lightning.encoders import staged
from kn_lightning.encoders.climb import Climb
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.staged import StagedForward
from kn_lightning.schema import EncodedPrompt, Neuron

LAYERS, HIDDEN, NEURONS, VOCABULARY = 4, 64, 256, 3000
PROMPTS, TOKENS = 10, 12
EVERYTHING = 10**6

SLACK = 1.03
"""A count may exceed what was counted once by so much, before somebody has to look at it."""
OVERHEAD = 1.06
"""Counted now are up to 5 % more than is needed: attention of all queries in the last layer and of
known ones in the layer behind a row's own, and the first map of that own layer's feed-forward."""

COUNTED = {"adaptive": 464_824_320, "gauss_legendre": 2_379_642_880, "edits": 108_328_960}
"""Operations of the three runs below with torch 2.13."""
CALLS = {"adaptive": 2_549, "gauss_legendre": 2_564, "edits": 983}
WRITTEN = {"adaptive": 41_348_221, "gauss_legendre": 230_184_371, "edits": 7_881_483}
"""Operators dispatched in the same runs, and the bytes of what they gave, but for views."""


class Products(TorchDispatchMode):
    """Counts the operations of matrix products that run within the block, all calls, and bytes.

    ``FlopCounterMode`` itself follows modules by hooks that forbid gradients of leaves, and doesn't
    know a CPU's attention.
    """

    total = calls = written = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        packet = function._overloadpacket
        self.calls += 1
        if not function.is_view:
            given = (one for one in tree_leaves(result) if isinstance(one, torch.Tensor))
            self.written += sum(one.numel() * one.element_size() for one in given)
        shapes = [part.shape for part in args if isinstance(part, torch.Tensor)]
        if packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu:
            self.total += sdpa_flop_count(*shapes[:3])
        elif packet is torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward:
            self.total += sdpa_backward_flop_count(*shapes[:4])
        elif packet in flop_registry:
            self.total += flop_registry[packet](*args, **(kwargs or {}), out_val=result)
        return result


def counted(run: Callable[[], object]) -> Products:
    with Products() as products:
        run()
    return products


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A random BERT whose probabilities hardly bend: all paths need the fewest nodes."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        tokens = [*special, *(f"w{number}" for number in range(len(special), VOCABULARY))]
        config = BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=HIDDEN,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            intermediate_size=NEURONS,
        )
        tokenizer = BertTokenizer(vocab={token: number for number, token in enumerate(tokens)})
        return load_encoder(BertForMaskedLM(config), tokenizer)


@pytest.fixture(scope="module")
def prompts(encoder: Encoder) -> list[EncodedPrompt]:
    """All of one length, so that no padding is counted; the mask's place changes."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCABULARY, (PROMPTS, TOKENS), generator=generator)
    ids[:, 0], ids[:, -1] = 2, 3
    encoded = []
    for number, row in enumerate(ids.tolist()):
        mask = 1 + number % (TOKENS - 2)
        row[mask] = encoder.tokenizer.mask_token_id
        encoded.append(
            EncodedPrompt(str(number), "word", "", None, tuple(row), (mask,), (100 + number,))
        )
    return encoded


def layer_above(layer: int, own: int) -> tuple[int, int]:
    """Operations of linear maps and of attention, forward, for a row of layer ``own``."""
    t, h, i = TOKENS, HIDDEN, NEURONS
    known = layer == own + 1
    if layer == LAYERS - 1:
        return (4 if known else 4 * t) * h**2 + 2 * h**2 + 2 * h**2 + 4 * h * i, 4 * t * h
    return (6 if known else 6 * t) * h**2 + t * (2 * h**2 + 4 * h * i), 4 * t**2 * h


def row(own: int, gradient: bool) -> int:
    """Operations of a row of layer ``own``, with its gradient or without."""
    above = [layer_above(one, own) for one in range(own + 1, LAYERS)]
    maps, attention = sum(one[0] for one in above), sum(one[1] for one in above)
    head, vocabulary = 2 * HIDDEN**2, 2 * VOCABULARY * HIDDEN
    if not gradient:
        return maps + attention + head + vocabulary
    return 2 * maps + 3 * attention + 2 * head + 2 * vocabulary


def base(gradient: bool) -> int:
    """Operations of a prompt in the base pass; P is asked for once more for its gradient."""
    maps = TOKENS * (8 * HIDDEN**2 + 4 * HIDDEN * NEURONS)
    attention = 4 * TOKENS**2 * HIDDEN
    head, vocabulary = 2 * HIDDEN**2, 2 * VOCABULARY * HIDDEN
    forward = LAYERS * (maps + attention) + head + vocabulary
    if not gradient:
        return forward
    return forward + (LAYERS - 1) * (maps + 2 * attention) + head + 2 * vocabulary


def assert_cost(name: str, run: Callable[[], object], needed: int) -> None:
    spent = counted(run)
    assert needed <= spent.total <= OVERHEAD * needed
    assert spent.total <= SLACK * COUNTED[name]
    assert spent.calls <= SLACK * CALLS[name]
    assert spent.written <= SLACK * WRITTEN[name]


class Recorded(Climb):
    """Climbs, noting how many of their rows start at each layer."""

    starts: list[list[int]]

    def __init__(self, encoder: Encoder, calls: Any, rows: Any) -> None:
        super().__init__(encoder, calls, rows)
        self.starts.append(torch.bincount(rows.layer, minlength=LAYERS).tolist())


def climbs(run: Callable[[], object]) -> list[list[int]]:
    """Rows that start at each layer, for each climb."""
    Recorded.starts = []
    with mock.patch.object(staged, "Climb", Recorded):
        run()
    return Recorded.starts


def summed(counts: Sequence[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*counts, strict=True)]


def test_adaptive_attribution_costs_what_is_needed(
    encoder: Encoder, prompts: list[EncodedPrompt]
) -> None:
    settings = AttributionSettings(row_tokens=EVERYTHING)
    evaluations = [4, 4, 4, 7]  # of each path, one of them by the base pass
    result = attribute_encoded(encoder, prompts, settings)
    assert result.evaluations.tolist() == [evaluations] * PROMPTS

    def run() -> None:
        attribute_encoded(encoder, prompts, settings)

    slopes = [count - 1 for count in evaluations]
    starts = climbs(run)
    assert summed(starts) == [PROMPTS * count for count in slopes]
    assert len(starts) == 3  # node 0, the first rule, and the second for the last layer alone
    rows = sum(count * row(layer, gradient=True) for layer, count in enumerate(slopes))
    needed = base(gradient=True) + rows + LAYERS * 2 * HIDDEN * NEURONS
    assert_cost("adaptive", run, PROMPTS * needed)


def test_twenty_fixed_nodes_cost_what_is_needed(
    encoder: Encoder, prompts: list[EncodedPrompt]
) -> None:
    settings = AttributionSettings("gauss_legendre", 20, row_tokens=EVERYTHING)

    def run() -> None:
        attribute_encoded(encoder, prompts, settings)

    # P without the layer's neurons, and then all nodes of all layers, in as many climbs as keep the
    # slopes of a rule with many nodes from piling up.
    starts = climbs(run)
    assert starts[0] == [PROMPTS] * LAYERS
    assert summed(starts) == [21 * PROMPTS] * LAYERS
    assert len(starts) <= 3
    rows = [20 * row(layer, gradient=True) + row(layer, gradient=False) for layer in range(LAYERS)]
    needed = base(gradient=False) + sum(rows) + LAYERS * 2 * HIDDEN * NEURONS
    assert_cost("gauss_legendre", run, PROMPTS * needed)


def test_edits_cost_what_is_needed_from_their_lowest_layer_on(
    encoder: Encoder, prompts: list[EncodedPrompt]
) -> None:
    forward = StagedForward(encoder, EVERYTHING)
    batch = encoder.batch(prompts)
    starts = [layer for layer in range(LAYERS) for _ in range(PROMPTS)]
    edits = row_edits(([Neuron(LAYERS - 1, 4), Neuron(start, 3)], 0.0) for start in starts)
    place = torch.arange(PROMPTS).repeat(LAYERS)

    def run() -> None:
        forward.edited_statistics(forward.base(batch), place, edits)

    assert climbs(run) == [[PROMPTS] * LAYERS]
    needed = base(gradient=False) + sum(row(layer, gradient=False) for layer in range(LAYERS))
    assert_cost("edits", run, PROMPTS * needed)


def test_a_small_budget_costs_no_more_operations(
    encoder: Encoder, prompts: list[EncodedPrompt]
) -> None:
    def cost(row_tokens: int) -> int:
        settings = AttributionSettings(row_tokens=row_tokens)
        return counted(lambda: attribute_encoded(encoder, prompts, settings)).total

    assert cost(20 * TOKENS) == cost(EVERYTHING)


@pytest.mark.parametrize("row_tokens", [5 * TOKENS, 40 * TOKENS, 300 * TOKENS])
def test_climbs_keep_to_their_budget_and_are_evenly_full(
    encoder: Encoder, prompts: list[EncodedPrompt], row_tokens: int
) -> None:
    settings = AttributionSettings("gauss_lobatto", 8, row_tokens=row_tokens)
    starts = climbs(lambda: attribute_encoded(encoder, prompts, settings))
    assert summed(starts) == [7 * PROMPTS] * LAYERS  # the base pass is the eighth node
    above = range(LAYERS, 0, -1)
    taken = [
        TOKENS * sum(n * count for n, count in zip(above, one, strict=True)) / LAYERS
        for one in starts
    ]
    # The last row of each may reach over the border.
    assert max(taken) < row_tokens + TOKENS
    # Each base pass and its nodes at 0 climb apart from the others.
    assert len(starts) <= 1.15 * sum(taken) / row_tokens + 2
    for one in starts:  # rows that start near each other climb together
        used = [layer for layer, count in enumerate(one) if count]
        assert used == list(range(used[0], used[-1] + 1))


@pytest.mark.parametrize(
    ("tolerance", "evaluations"), [(0.001, [400, 400, 406, 700]), (0.01, [300, 300, 306, 500])]
)
def test_a_hundred_prompts_of_the_embedded_study_take_few_evaluations(
    tolerance: float, evaluations: list[int]
) -> None:
    encoder = load_encoder("embedded")
    groups = (encode_group(encoder, group)[0] for group in embedded_groups())
    every = (prompt for group in groups if group is not None for prompt in group.prompts)
    settings = AttributionSettings(tolerance=tolerance)
    result = attribute_encoded(encoder, list(islice(every, 100)), settings)
    # On another machine rounding may take a path or two over the border.
    spent = result.evaluations.sum(0).tolist()
    assert all(ours <= SLACK * few for ours, few in zip(spent, evaluations, strict=True)), spent
