"""The floating-point operations that attribution needs, by formula, whatever the code does.

Counted are matrix products alone, a multiplication and an addition as two. With T tokens, H wide, I
neurons, V words, for one row of layer l (0-based, L layers), whose neurons at the mask are scaled:

- layer l itself: nothing (its neurons' map is linear: one product for all nodes of a path, below);
- layer l+1: queries, keys and values at the mask alone, all others being the base pass's (6 H^2);
  attention of T queries, of whose T x T products those of the mask's query and key are new
  (2 (2T - 1) H, and 2 T^2 H for the values); its output (2 T H^2) and the feed-forward (4 T H I);
- layers further up: all of it, T (8 H^2 + 4 H I) + 4 T^2 H;
- the last layer: the mask's query, attention and feed-forward alone, keys and values of all tokens
  where they are not known: 4 T H^2 + 4 H^2 + 4 T H + 4 H I;
- the head: its transform (2 H^2) and the vocabulary (2 V H).

A gradient by activations alone costs each product once more, attention's two products twice; the
vocabulary's is the mean of its rows under the softmax (2 V H).

- base pass: once a prompt, like a row from below layer 0 (all queries, keys and values new), its
  last layer at the mask alone but for keys and values; its backward, where that gives the slope at
  node 1, is that of a row of layer 0;
- a row without gradient for P at node 0, where the rule has no such node;
- gradients by what a layer's neurons' map gives, summed over nodes, go through it once a path
  (2 H I).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from kn_lightning.attribution import AttributionSettings
from kn_lightning.core.attribution import path_rules
from kn_lightning.encoders.encoder import Encoder


@dataclass(frozen=True)
class Shape:
    """Of an encoder and its prompts: layers, hidden size, neurons, vocabulary, tokens."""

    layers: int
    hidden: int
    neurons: int
    vocabulary: int
    tokens: int

    @classmethod
    def of(cls, encoder: Encoder, tokens: int) -> Shape:
        """An encoder's, for prompts of so many tokens."""
        structure, config = encoder.structure, encoder.model.config
        return cls(
            structure.n_layers,
            structure.hidden_size,
            structure.n_neurons,
            config.vocab_size,
            tokens,
        )

    def head(self) -> int:
        """Transform and vocabulary at the mask."""
        return 2 * self.hidden**2 + 2 * self.vocabulary * self.hidden

    def layer(self, layer: int, known_entries: bool, backward: bool = False) -> int:
        """One layer above the row's own.

        Args:
            layer: which.
            known_entries: it is the one right behind the row's own.
            backward: the gradient's products instead of the forward's.
        """
        t, h, i = self.tokens, self.hidden, self.neurons
        if layer == self.layers - 1:
            entries, queries = (4 if known_entries else 4 * t) * h**2 + 2 * h**2, 1
            attention = 4 * t * h
        else:
            entries, queries = (6 if known_entries else 6 * t) * h**2, t
            scores = 2 * t - 1 if known_entries else t**2
            attention = 2 * scores * h + 2 * t**2 * h
        behind = queries * (2 * h**2 + 4 * h * i)
        return entries + (2 if backward else 1) * attention + behind

    def row(self, layer: int, backward: bool = False) -> int:
        """A row whose neurons are those of ``layer``; one direction alone."""
        above = range(layer + 1, self.layers)
        layers = (self.layer(one, one == layer + 1, backward) for one in above)
        return sum(layers) + self.head()

    def base(self) -> int:
        """The untouched encoder's forward."""
        return sum(self.layer(one, False) for one in range(self.layers)) + self.head()


def necessary_operations(shape: Shape, evaluations: Tensor, settings: AttributionSettings) -> int:
    """Floating-point operations of an attribution.

    Args:
        shape: of encoder and prompts.
        evaluations: ``[B, L]``, gradients of each path as the attribution counted them.
        settings: its rule; where that has node 1, one gradient of each path is the base pass's.
    """
    rules = path_rules(settings.rule, settings.nodes, settings.tolerance)
    end_is_known = any(1.0 in rule.nodes for rule in rules)
    zero_is_a_node = 0.0 in rules[0].nodes
    n_prompts = len(evaluations)
    total = n_prompts * (shape.base() + shape.row(0, backward=True) * end_is_known)
    for layer, count in enumerate(evaluations.sum(0).tolist()):
        forward, backward = shape.row(layer), shape.row(layer, backward=True)
        total += (count - n_prompts * end_is_known) * (forward + backward)
        total += n_prompts * (forward * (not zero_is_a_node) + 2 * shape.hidden * shape.neurons)
    return int(total)


class CountedOperations(TorchDispatchMode):
    """What torch's own formulas make of the products that are run within the block.

    ``FlopCounterMode`` itself follows modules by hooks on gradients, which forbid gradients of
    leaves.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run and count one operation."""
        result = function(*args, **(kwargs or {}))
        formula = flop_registry.get(function._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result
