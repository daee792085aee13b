"""Edited weights: what an edit is of a model, that no bit of it stays, and where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor, nn

from kn_lightning import load_encoder
from kn_lightning.core.forward import TokenBatch
from kn_lightning.core.weights import WEIGHT_EDITS, Erase, Update, WeightEdit
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.encoders.weights import check_editable, weight_edit
from kn_lightning.errors import InputError

from .architectures import tiny_architecture
from .test_discovery import PROJECTIONS
from .tiny import LAYERS, NEURONS, fingerprint, wordpiece_tokenizer

SOME = [(0, 3), (0, 11), (2, 0), (1, 23)]
EDITS = [Erase(), Erase(1), Update(9, 12), Update(9, 12, 0.3, -2.0)]


@pytest.fixture
def own(make_encoder: Callable[..., Encoder]) -> Encoder:
    """A BERT of the test's own."""
    return make_encoder("bert")


def logits(encoder: Encoder, batch: TokenBatch) -> Tensor:
    with torch.no_grad():
        return encoder.logits(batch)


@contextmanager
def muted(encoder: Encoder, architecture: str, neurons: list[tuple[int, int]]) -> Iterator[None]:
    """Neurons at 0 at all positions, by hooks written out here."""
    handles = []
    for layer, index in neurons:

        def hook(_: nn.Module, args: tuple[Tensor], index: int = index) -> tuple[Tensor]:
            changed = args[0].clone()
            changed[..., index] = 0
            return (changed,)

        module = encoder.model.get_submodule(PROJECTIONS[architecture].format(layer))
        handles.append(module.register_forward_pre_hook(hook))
    yield
    for handle in handles:
        handle.remove()


def test_erasing_by_zero_is_muting_the_neurons_at_all_positions(
    architecture: str, encoder64: Encoder, encode: Callable
) -> None:
    batch = encoder64.batch(encode(encoder64))
    with muted(encoder64, architecture, SOME):
        expected = logits(encoder64, batch)
    with encoder64.weights_edited(SOME, Erase()):
        found = logits(encoder64, batch)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert not torch.equal(found, logits(encoder64, batch))
    # At the mask alone it is another edit.
    with encoder64.edited(SOME, 0.0):
        assert (logits(encoder64, batch) - expected).abs().max() > 1e-3


def test_update_changes_columns_of_the_second_map_by_the_formula(
    architecture: str, encoder64: Encoder
) -> None:
    before = {name: tensor.clone() for name, tensor in encoder64.model.state_dict().items()}
    words = encoder64.model.get_input_embeddings().weight
    with encoder64.weights_edited(SOME, Update(9, 12, 0.5, 3.0)):
        after = {name: tensor.clone() for name, tensor in encoder64.model.state_dict().items()}
    for layer, index in SOME:
        name = f"{PROJECTIONS[architecture].format(layer)}.weight"
        value = before[name][:, index]
        size = value.norm()
        expected = value - 0.5 * size / words[9].norm() * words[9]
        expected = expected + 3.0 * size / words[12].norm() * words[12]
        torch.testing.assert_close(after[name][:, index], expected)
        before[name][:, index] = after[name][:, index]
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_a_neuron_listed_twice_is_edited_once_and_put_back(own: Encoder, edit: WeightEdit) -> None:
    before = fingerprint(own.model)
    with own.weights_edited(SOME, edit):
        once = fingerprint(own.model)
    assert fingerprint(own.model) == before
    with own.weights_edited([*SOME, *SOME, SOME[0]], edit):
        assert fingerprint(own.model) == once
    assert once != before
    assert fingerprint(own.model) == before


def test_blocks_within_each_other_edit_what_the_outer_one_left_and_restore_it(
    own: Encoder,
) -> None:
    before = fingerprint(own.model)
    with own.weights_edited(SOME, Update(9, 12)):
        outer = fingerprint(own.model)
        for edit in EDITS:
            with own.weights_edited([SOME[0], (0, 4)], edit), own.weights_edited(SOME, edit):
                assert fingerprint(own.model) != outer
            assert fingerprint(own.model) == outer
    assert fingerprint(own.model) == before


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_no_bit_stays_after_an_exception(own: Encoder, edit: WeightEdit) -> None:
    before = fingerprint(own.model)

    def interrupted() -> None:
        with own.weights_edited(SOME, edit), own.weights_edited(SOME, Update(1, 2)):
            raise torch.OutOfMemoryError("planted")

    with pytest.raises(torch.OutOfMemoryError):
        interrupted()
    assert fingerprint(own.model) == before


def test_no_bit_stays_where_the_edit_itself_fails_half_way(
    own: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kn_lightning.encoders import weights

    before, compute, calls = fingerprint(own.model), weights.edited_values, iter(range(9))

    def failing(*arguments: object) -> Tensor:
        if next(calls) == 1:
            raise torch.OutOfMemoryError("planted")
        return compute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(weights, "edited_values", failing)
    with pytest.raises(torch.OutOfMemoryError):
        own.weights_edited(SOME, Erase()).__enter__()
    assert next(calls) == 2
    assert fingerprint(own.model) == before


def test_no_bit_stays_outside_of_no_grad_with_parameters_that_are_trained(own: Encoder) -> None:
    own.model.requires_grad_(True)
    before = fingerprint(own.model)
    with torch.enable_grad(), own.weights_edited(SOME, Update(9, 12)):
        assert fingerprint(own.model) != before
    assert fingerprint(own.model) == before


@pytest.mark.parametrize("neuron", [(LAYERS, 0), (-1, 0), (0, NEURONS), (0, -1)], ids=str)
def test_a_neuron_that_does_not_exist_is_refused_before_any_change(
    bert: Encoder, neuron: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match=rf"\({neuron[0]}, {neuron[1]}\)"):
        bert.weights_edited([(0, 0), neuron], Erase()).__enter__()


def test_names_stand_for_edits(bert: Encoder) -> None:
    check_editable(bert, WEIGHT_EDITS)
    assert weight_edit(bert, "erase_zero") == Erase()
    assert weight_edit(bert, "erase_unk") == Erase(bert.tokenizer.unk_token_id)
    assert weight_edit(bert, "update", 7, 8) == Update(7, 8, 1.0, 8.0)
    assert weight_edit(bert, "update", 7, 8, 2.0, 3.0) == Update(7, 8, 2.0, 3.0)


def refused(encoder: Encoder, edit: WeightEdit, *names: str) -> str:
    """In one line, by the check and by the block, and nothing changed."""
    before = fingerprint(encoder.model)
    with pytest.raises(InputError) as said:
        check_editable(encoder, names)
    with pytest.raises(InputError) as caught:
        encoder.weights_edited([(0, 0)], edit).__enter__()
    assert str(caught.value) == str(said.value)
    assert "\n" not in str(said.value)
    assert fingerprint(encoder.model) == before
    return str(said.value)


def test_layers_that_share_one_map_are_refused() -> None:
    encoder = load_encoder(tiny_architecture("albert"), wordpiece_tokenizer())
    line = refused(encoder, Erase(), "erase_zero")
    assert "layers 0, 1, 2 share one map" in line
    assert "all of them" in line


def test_maps_that_share_their_weight_are_refused(own: Encoder) -> None:
    first, _, last = own.structure.projections
    last.weight = first.weight
    assert "layers 0, 2 share one map" in refused(own, Erase(), "erase_zero")


def test_a_second_map_that_is_a_convolution_is_refused() -> None:
    encoder = load_encoder(tiny_architecture("squeezebert"), wordpiece_tokenizer())
    line = refused(encoder, Erase(), "erase_zero")
    assert "no plain linear map" in line
    assert "edit activations instead" in line


def test_embeddings_of_another_size_are_refused_where_they_are_needed(
    make_encoder: Callable[..., Encoder],
) -> None:
    from transformers import ElectraConfig, ElectraForMaskedLM

    tokenizer = wordpiece_tokenizer()
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    config = ElectraConfig(
        vocab_size=len(tokenizer), embedding_size=8, num_attention_heads=4, **sizes
    )
    encoder = load_encoder(ElectraForMaskedLM(config).eval(), tokenizer)
    check_editable(encoder, ["erase_zero"])
    with encoder.weights_edited([(0, 0)], Erase()):
        assert (encoder.structure.projections[0].weight[:, 0] == 0).all()
    for name, edit in (("erase_unk", Erase(1)), ("update", Update(5, 6))):
        line = refused(encoder, edit, "erase_zero", name)
        assert "embeddings have the size 8, its hidden states 16" in line
        assert "use erase_zero alone" in line


def test_a_tokenizer_without_an_unknown_token_is_refused(own: Encoder) -> None:
    own.tokenizer.unk_token = None
    check_editable(own, ["erase_zero", "update"])
    with pytest.raises(InputError, match="erase_unk: its tokenizer has no unknown token"):
        check_editable(own, ["erase_unk"])
    with pytest.raises(InputError, match="no unknown token"):
        weight_edit(own, "erase_unk")
