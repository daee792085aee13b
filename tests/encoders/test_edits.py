"""Edits at the mask: what they change, what they leave alone, and that nothing of them stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from kn_lightning.core.edits import row_edits
from kn_lightning.core.forward import TokenBatch
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.hooked import HookedForward, mask_index
from kn_lightning.errors import InputError
from kn_lightning.schema import Neuron

from .test_discovery import PROJECTIONS
from .tiny import HIDDEN, LAYERS, NEURONS, PROMPTS, fingerprint

SOME = [Neuron(0, 3), Neuron(0, 11), Neuron(2, 0), Neuron(1, 23)]


def logits_by_hand(
    encoder: Encoder, architecture: str, batch: TokenBatch, neurons: list[Neuron], factor: float
) -> Tensor:
    """Logits at the mask with hooks written out here, one neuron after another."""
    handles = []
    for layer, index in set(neurons):

        def hook(_: object, args: tuple[Tensor], index: int = index) -> tuple[Tensor]:
            changed = args[0].clone()
            for row, mask in enumerate(batch.mask_positions[:, 0].tolist()):
                changed[row, mask, index] *= factor
            return (changed,)

        module = encoder.model.get_submodule(PROJECTIONS[architecture].format(layer))
        handles.append(module.register_forward_pre_hook(hook))
    with torch.no_grad():
        logits = encoder.logits(batch)
    for handle in handles:
        handle.remove()
    return logits[mask_index(batch.mask_positions)]


def logits_within(
    encoder: Encoder, batch: TokenBatch, neurons: list[Neuron], factor: float
) -> Tensor:
    with encoder.edited(neurons, factor), torch.no_grad():
        logits = encoder.logits(batch)
    return logits[mask_index(batch.mask_positions)]


@pytest.mark.parametrize("factor", [0.0, 2.0, 0.5, -1.0])
def test_edits_equal_a_hook_written_by_hand(
    architecture: str, encoder64: Encoder, encode: Callable, factor: float
) -> None:
    batch = encoder64.batch(encode(encoder64))
    expected = logits_by_hand(encoder64, architecture, batch, SOME, factor)
    plain = HookedForward(encoder64).logits(batch, {})
    assert ((expected - plain).abs().amax((1, 2)) > 1e-2).all()

    torch.testing.assert_close(logits_within(encoder64, batch, SOME, factor), expected)
    edits = row_edits([(SOME, factor)] * len(batch.answers))
    ours = HookedForward(encoder64).edited_logits(batch, edits)
    torch.testing.assert_close(ours, expected)


def test_an_edit_with_factor_one_changes_no_bit(encoder: Encoder, encode: Callable) -> None:
    batch = encoder.batch(encode(encoder))
    with torch.no_grad():
        plain = encoder.logits(batch)
        with encoder.edited(SOME, 1.0):
            assert torch.equal(encoder.logits(batch), plain)
        with encoder.edited([], 0.0):
            assert torch.equal(encoder.logits(batch), plain)
        short = HookedForward(encoder).logits(batch, {})
        edits = row_edits([(SOME, 1.0)] * len(batch.answers))
        assert torch.equal(HookedForward(encoder).edited_logits(batch, edits), short)
        nothing = row_edits([([], 0.0)] * len(batch.answers))
        assert torch.equal(HookedForward(encoder).edited_logits(batch, nothing), short)


def test_an_edit_changes_its_neurons_at_the_mask_and_nowhere_else(
    bert: Encoder, encode: Callable
) -> None:
    batch = bert.batch(encode(bert))
    layer, index = 1, 7
    seen: list[Tensor] = []
    module = bert.structure.projections[layer]

    def look(_: object, args: tuple[Tensor], __: Tensor) -> None:
        seen.append(args[0].clone())

    with torch.no_grad(), module.register_forward_hook(look):
        bert.logits(batch)
        with bert.edited([(layer, index)], 2.0):
            bert.logits(batch)
    before, after = seen
    changed = (before != after).nonzero().tolist()
    expected = [[row, mask, index] for row, mask in enumerate(batch.mask_positions[:, 0].tolist())]
    assert changed == expected
    rows = torch.arange(len(batch.answers))
    torch.testing.assert_close(
        after[rows, batch.mask_positions[:, 0], index],
        2 * before[rows, batch.mask_positions[:, 0], index],
    )


@pytest.mark.parametrize("factor", [2.0, 0.0])
def test_a_neuron_listed_twice_is_edited_once(
    encoder: Encoder, encode: Callable, factor: float
) -> None:
    batch = encoder.batch(encode(encoder))
    once = logits_within(encoder, batch, SOME, factor)
    assert torch.equal(logits_within(encoder, batch, [*SOME, *SOME, SOME[0]], factor), once)
    hooked = HookedForward(encoder)
    rows = len(batch.answers)
    single = hooked.edited_logits(batch, row_edits([(SOME, factor)] * rows))
    double = hooked.edited_logits(batch, row_edits([([*SOME, *SOME], factor)] * rows))
    assert torch.equal(single, double)


def test_suppressing_twice_is_suppressing_once(encoder: Encoder, encode: Callable) -> None:
    batch = encoder.batch(encode(encoder))
    once = logits_within(encoder, batch, SOME, 0.0)
    with encoder.edited(SOME, 0.0):
        twice = logits_within(encoder, batch, SOME, 0.0)
    assert torch.equal(once, twice)


def test_many_edits_in_one_batch_equal_each_alone(encoder64: Encoder, encode: Callable) -> None:
    prompts = encode(encoder64)
    rows = [
        ([Neuron(0, 1)], 0.0),
        ([], 0.0),
        ([Neuron(2, 5), Neuron(2, 6), Neuron(0, 1)], 2.0),
        ([Neuron(1, index) for index in range(NEURONS)], 0.0),
        ([Neuron(0, 1)], 2.0),
        ([Neuron(layer, 9) for layer in range(LAYERS)], -0.5),
        ([Neuron(1, 2), Neuron(1, 2)], 2.0),
    ]
    hooked = HookedForward(encoder64)
    together = hooked.edited_logits(encoder64.batch(prompts), row_edits(rows))
    for number, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        alone = hooked.edited_logits(encoder64.batch([prompt]), row_edits([row]))
        torch.testing.assert_close(together[number], alone[0], rtol=1e-10, atol=1e-10)


def test_rows_without_an_edit_are_untouched_by_those_of_their_batch(
    encoder: Encoder, encode: Callable
) -> None:
    batch = encoder.batch(encode(encoder))
    hooked = HookedForward(encoder)
    edits = row_edits([(SOME, 0.0), *[([], 0.0)] * (len(batch.answers) - 1)])
    plain, edited = hooked.logits(batch, {}), hooked.edited_logits(batch, edits)
    assert torch.equal(plain[1:], edited[1:])
    assert not torch.equal(plain[0], edited[0])


def test_every_mask_of_a_text_is_edited(bert64: Encoder) -> None:
    encoded = bert64.tokenizer("a [MASK] is a small [MASK]", return_tensors="pt")
    seen: list[Tensor] = []
    module = bert64.structure.projections[0]
    with (
        torch.no_grad(),
        bert64.edited([(0, 4)], 0.0),
        module.register_forward_hook(lambda _, args, __: seen.append(args[0])),
    ):
        bert64.model(**encoded)
    masks = (encoded["input_ids"][0] == bert64.tokenizer.mask_token_id).nonzero()[:, 0]
    assert len(masks) == 2
    assert (seen[0][0, masks, 4] == 0).all()
    assert (seen[0][0, :, 4] == 0).sum() == 2


def test_the_model_is_restored_when_the_block_ends(
    make_encoder: Callable, encode: Callable
) -> None:
    encoder = make_encoder("bert")
    before = fingerprint(encoder.model)
    batch = encoder.batch(encode(encoder))
    with torch.no_grad():
        plain = encoder.logits(batch)
        with encoder.edited(SOME):
            assert not torch.equal(encoder.logits(batch), plain)
        assert torch.equal(encoder.logits(batch), plain)
    HookedForward(encoder).edited_logits(batch, row_edits([(SOME, 0.0)] * len(batch.answers)))
    assert fingerprint(encoder.model) == before


def test_the_model_is_restored_after_an_exception_in_the_block(
    make_encoder: Callable, encode: Callable
) -> None:
    encoder = make_encoder("bert")
    before = fingerprint(encoder.model)
    batch = encoder.batch(encode(encoder))
    with torch.no_grad():
        plain = encoder.logits(batch)

        def interrupted() -> None:
            with encoder.edited(SOME), encoder.edited([(1, 1)], 2.0):
                encoder.logits(batch)
                raise torch.OutOfMemoryError("planted")

        with pytest.raises(torch.OutOfMemoryError):
            interrupted()
        assert torch.equal(encoder.logits(batch), plain)
    assert fingerprint(encoder.model) == before


def test_weights_keep_every_bit_under_an_edit(make_encoder: Callable, encode: Callable) -> None:
    encoder = make_encoder("bert")
    weights = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
    with encoder.edited(SOME, 2.0), torch.no_grad():
        encoder.logits(encoder.batch(encode(encoder)))
        for name, tensor in encoder.model.state_dict().items():
            assert torch.equal(tensor, weights[name]), name


@pytest.mark.parametrize(
    "neuron", [(LAYERS, 0), (-1, 0), (0, NEURONS), (0, -1)], ids=lambda neuron: f"{neuron}"
)
def test_a_neuron_that_does_not_exist_is_refused(bert: Encoder, neuron: tuple[int, int]) -> None:
    before = fingerprint(bert.model)
    block = bert.edited([(0, 0), neuron])
    with pytest.raises(InputError, match=rf"\({neuron[0]}, {neuron[1]}\)"):
        block.__enter__()
    assert fingerprint(bert.model) == before


def test_an_edited_encoder_refuses_text_without_a_mask(bert: Encoder) -> None:
    encoded = bert.tokenizer("a cat is small", return_tensors="pt")
    with bert.edited(SOME), pytest.raises(InputError, match=r"\[MASK\]"):
        bert.model(**encoded)
    with torch.no_grad():
        bert.model(**encoded)  # as before, outside


def test_the_sizes_that_these_tests_rely_on_differ() -> None:
    assert len({HIDDEN, LAYERS, NEURONS, len(PROMPTS)}) == 4


def test_hooks_of_others_are_no_edit(bert: Encoder) -> None:
    projection = bert.structure.projections[0]
    handle = projection.register_forward_pre_hook(lambda *_: None)
    assert not bert.is_edited
    with bert.edited(SOME, 0.0):
        assert bert.is_edited
    handle.remove()
    assert not bert.is_edited
