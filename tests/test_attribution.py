"""``attribute``: the public way from sentences to scores, and all that it refuses."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from encoders.tiny import LAYERS, NEURONS, POSITIONS, PROMPTS, tiny_model

from kn_lightning import attribute, load_encoder
from kn_lightning.attribution import (
    AttributionSettings,
    attribute_encoded,
    length_chunks,
)
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError
from kn_lightning.schema import Attribution, EncodedPrompt

TEXTS, ANSWERS = (list(column) for column in zip(*PROMPTS, strict=True))


# What comes out


def test_the_result_has_the_shapes_and_types_of_the_contract(encoder: Encoder) -> None:
    result = attribute(encoder, TEXTS, ANSWERS)
    n = len(TEXTS)
    assert result.scores.shape == (n, LAYERS, NEURONS)
    for name in ("total", "residual", "evaluations"):
        assert getattr(result, name).shape == (n, LAYERS), name
    for name in ("probability", "rank", "log_odds"):
        assert getattr(result, name).shape == (n,), name
    assert result.argmax.shape == (n, 1)
    for name in ("scores", "total", "residual", "probability", "log_odds"):
        assert getattr(result, name).dtype == torch.float32, name
        assert getattr(result, name).isfinite().all(), name
    for name in ("evaluations", "rank", "argmax"):
        assert getattr(result, name).dtype == torch.int64, name


def test_the_result_is_plain_numbers_on_the_cpu(encoder: Encoder) -> None:
    for field in fields(Attribution):
        tensor = getattr(attribute(encoder, TEXTS[:2], ANSWERS[:2]), field.name)
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad
        assert tensor.grad_fn is None


def test_probability_rank_and_argmax_are_those_of_a_plain_forward_pass(encoder: Encoder) -> None:
    result = attribute(encoder, TEXTS, ANSWERS, "riemann_left", 1)
    tokenizer = encoder.tokenizer
    for row, (text, answer) in enumerate(PROMPTS):
        ids = tokenizer(text.replace("[MASK]", tokenizer.mask_token), return_tensors="pt").input_ids
        mask = (ids[0] == tokenizer.mask_token_id).nonzero().item()
        with torch.no_grad():
            logits = encoder.model(input_ids=ids).logits[0, mask]
        filled = tokenizer(text.replace("[MASK]", answer)).input_ids
        own = logits.double().softmax(-1)[filled[mask]].item()
        assert result.probability[row].item() == pytest.approx(own, rel=1e-4)
        assert result.argmax[row] == logits.argmax()
        assert result.rank[row] == (logits > logits[filled[mask]]).sum() + 1


def test_scores_add_up_within_the_tolerance(encoder: Encoder) -> None:
    for tolerance in (0.05, 0.001):
        result = attribute(encoder, TEXTS, ANSWERS, tolerance=tolerance)
        largest = result.total.abs().amax(1, keepdim=True)
        assert (result.residual.abs() <= tolerance * largest).all()
        torch.testing.assert_close(
            result.scores.sum(-1) - result.total, result.residual, rtol=1e-3, atol=1e-6
        )


def test_prompts_come_back_in_the_order_in_which_they_were_given(bert64: Encoder) -> None:
    result = attribute(bert64, TEXTS, ANSWERS, "gauss_legendre", 3)
    for row in range(len(TEXTS)):
        alone = attribute(bert64, [TEXTS[row]], [ANSWERS[row]], "gauss_legendre", 3)
        for field in fields(Attribution):
            torch.testing.assert_close(
                getattr(alone, field.name)[0],
                getattr(result, field.name)[row],
                rtol=1e-8,
                atol=1e-12,
            )


def test_one_prompt_may_be_asked_for_several_answers(bert64: Encoder) -> None:
    text = TEXTS[2]
    result = attribute(bert64, [text] * 3, ["kitten", "puppy", "kitten"], "gauss_legendre", 3)
    torch.testing.assert_close(result.scores[0], result.scores[2], rtol=1e-9, atol=1e-14)
    assert not torch.allclose(result.scores[0], result.scores[1])


@pytest.mark.parametrize("row_tokens", [1, 50, 333, None])
def test_results_do_not_depend_on_how_much_is_computed_together(
    encoder64: Encoder, encode: Callable, row_tokens: int | None
) -> None:
    prompts = encode(encoder64)
    settings = AttributionSettings("gauss_legendre", 5, row_tokens=row_tokens)
    whole = AttributionSettings("gauss_legendre", 5, row_tokens=10**6)
    ours = attribute_encoded(encoder64, prompts, settings)
    reference = attribute_encoded(encoder64, prompts, whole)
    for field in fields(Attribution):
        torch.testing.assert_close(
            getattr(ours, field.name), getattr(reference, field.name), rtol=1e-8, atol=1e-13
        )


# That it is right: against finite differences, and against sums written out


def test_scores_equal_a_fine_sum_of_finite_differences(bert64: Encoder, encode: Callable) -> None:
    (prompt,) = encode(bert64, PROMPTS[1:2])
    ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
    result = attribute(bert64, [TEXTS[1]], [ANSWERS[1]], "gauss_legendre", 48)
    for layer in range(LAYERS):
        module = bert64.model.bert.encoder.layer[layer].output.dense
        activation = neurons_of(bert64, module, ids)[mask]
        for neuron in (0, 7, NEURONS - 1):
            points, step, total = 100, 1e-5, 0.0
            for k in range(points):  # midpoints: an error of 1 / points^2
                path = (k + 0.5) / points * activation
                nudge = torch.zeros(NEURONS, dtype=torch.float64)
                nudge[neuron] = step
                both = torch.stack([path + nudge, path - nudge])
                up, down = probabilities(bert64, module, prompt, both)
                total += (up - down).item() / (2 * step) / points
            expected = activation[neuron].item() * total
            assert result.scores[0, layer, neuron].item() == pytest.approx(
                expected, rel=1e-3, abs=1e-8
            )


def test_the_gradient_at_the_untouched_activation_equals_finite_differences(
    bert64: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(bert64, PROMPTS[4:5])
    ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
    # The right sum of one node looks at alpha = 1 alone: w dP/dw.
    result = attribute(bert64, [TEXTS[4]], [ANSWERS[4]], "riemann_right", 1)
    for layer in range(LAYERS):
        module = bert64.model.bert.encoder.layer[layer].output.dense
        activation = neurons_of(bert64, module, ids)[mask]
        step = 1e-5
        nudges = step * torch.eye(NEURONS, dtype=torch.float64)
        up = probabilities(bert64, module, prompt, activation + nudges)
        down = probabilities(bert64, module, prompt, activation - nudges)
        expected = activation * (up - down) / (2 * step)
        scale = expected.abs().max()
        assert (result.scores[0, layer] - expected).abs().max() <= 1e-6 * scale


def test_totals_are_the_probability_without_the_layers_neurons(
    bert64: Encoder, encode: Callable
) -> None:
    result = attribute(bert64, TEXTS, ANSWERS, "riemann_left", 1)
    for row, prompt in enumerate(encode(bert64)):
        for layer in range(LAYERS):
            module = bert64.model.bert.encoder.layer[layer].output.dense
            none = torch.zeros(1, NEURONS, dtype=torch.float64)
            without = probabilities(bert64, module, prompt, none).item()
            expected = result.probability[row].item() - without
            assert result.total[row, layer].item() == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_the_neurons_path_equals_ablation_by_hand(bert64: Encoder, encode: Callable) -> None:
    prompts = encode(bert64)[:3]
    settings = AttributionSettings("gauss_legendre", 5, path="neuron", candidates=10)
    result = attribute_encoded(bert64, prompts, settings)
    layers = attribute_encoded(bert64, prompts, AttributionSettings("gauss_legendre", 5))
    for row, prompt in enumerate(prompts):
        ids, mask = torch.tensor([prompt.input_ids]), prompt.mask_positions[0]
        found = result.scores[row].nonzero().tolist()
        best = layers.scores[row].flatten().topk(10).indices.tolist()
        assert sorted(layer * NEURONS + neuron for layer, neuron in found) == sorted(best)
        for layer, neuron in found:
            module = bert64.model.bert.encoder.layer[layer].output.dense
            changed = neurons_of(bert64, module, ids)[mask].clone()
            changed[neuron] = 0
            without = probabilities(bert64, module, prompt, changed[None]).item()
            expected = result.probability[row].item() - without
            ours = result.scores[row, layer, neuron].item()
            assert ours == pytest.approx(expected, rel=1e-8, abs=1e-13)
    assert (result.evaluations.sum(1) == layers.evaluations.sum(1) + 10).all()


def neurons_of(encoder: Encoder, module: torch.nn.Module, ids: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    with torch.no_grad(), module.register_forward_pre_hook(lambda _, args: seen.append(args[0][0])):
        encoder.model(input_ids=ids)
    return seen[0]


def probabilities(
    encoder: Encoder, module: torch.nn.Module, prompt: EncodedPrompt, neurons: torch.Tensor
) -> torch.Tensor:
    """P of the answer with each row of ``neurons`` at the mask, all in plain forward passes."""

    def patch(_: object, args: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        patched = args[0].clone()
        patched[:, prompt.mask_positions[0]] = neurons
        return (patched,)

    ids = torch.tensor([prompt.input_ids]).expand(len(neurons), -1)
    with torch.no_grad(), module.register_forward_pre_hook(patch):
        logits = encoder.model(input_ids=ids).logits[:, prompt.mask_positions[0]]
    return logits.softmax(-1)[:, prompt.answers[0]]


# Answers: one token, as the tokenizer writes it at that very place


def refusal(encoder: Encoder, text: str, answer: str) -> str:
    with pytest.raises(InputError) as caught:
        attribute(encoder, [TEXTS[0], text], [ANSWERS[0], answer])
    message = str(caught.value)
    assert "prompt 1" in message  # which of the two
    assert repr(text) in message
    assert repr(answer) in message
    return message


@pytest.mark.parametrize("answer", ["playing", "cats", "wooles"])
def test_an_answer_that_is_several_tokens_is_refused_not_turned_into_unk(
    bert: Encoder, answer: str
) -> None:
    count = len(bert.tokenizer.tokenize(answer))
    assert count in (2, 3)
    assert bert.tokenizer.convert_tokens_to_ids(answer) == bert.tokenizer.unk_token_id
    assert f"{count} tokens" in refusal(bert, TEXTS[1], answer)


@pytest.mark.parametrize("answer", ["xylophone", "42", "[UNK]", "[SEP]", "[PAD]", "[CLS]"])
def test_an_answer_out_of_the_vocabulary_is_refused(bert: Encoder, answer: str) -> None:
    assert "vocabulary" in refusal(bert, TEXTS[1], answer)


@pytest.mark.parametrize("answer", ["", " ", "kitten puppy", "kitten.", "[MASK]"])
def test_an_answer_that_is_no_word_is_refused(bert: Encoder, answer: str) -> None:
    refusal(bert, TEXTS[1], answer)


def test_an_answer_is_the_word_alone_without_special_tokens(
    bert: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(bert, [(TEXTS[1], "kitten")])
    assert prompt.answers[0] == bert.tokenizer.convert_tokens_to_ids("kitten")
    assert prompt.input_ids[prompt.mask_positions[0]] == bert.tokenizer.mask_token_id


@pytest.mark.parametrize("answer", ["Kitten", "KITTEN", "kitten ", " kitten"])
def test_an_uncased_tokenizer_lowers_answers_itself(bert: Encoder, answer: str) -> None:
    plain = attribute(bert, TEXTS[:1], ["kitten"], "riemann_left", 2)
    capital = attribute(bert, TEXTS[:1], [answer], "riemann_left", 2)
    assert torch.equal(plain.scores, capital.scores)


def test_a_cased_tokenizer_does_not_know_a_capitalised_word(tiny_encoders: Callable) -> None:
    encoder = tiny_encoders("modernbert", torch.float32)
    assert "vocabulary" in refusal(encoder, TEXTS[1], "Kitten")


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("[MASK] will grow up to be a cat.", "kitten"),  # at the start: without a space
        ("the young of a cat is a [MASK].", "Ġkitten"),
        ("a [MASK] is small.", "Ġkitten"),
    ],
)
def test_a_byte_level_answer_has_its_leading_space_where_there_is_one(
    roberta: Encoder, encode: Callable, text: str, token: str
) -> None:
    (prompt,) = encode(roberta, [(text, "kitten")])
    assert roberta.tokenizer.convert_ids_to_tokens(prompt.answers[0]) == token
    assert roberta.text(prompt.answers) == "kitten"


def test_a_byte_level_answer_in_brackets_is_the_one_without_a_space(
    roberta: Encoder, encode: Callable
) -> None:
    (prompt,) = encode(roberta, [("the cat .[MASK] is small", "kitten")])
    assert roberta.tokenizer.convert_ids_to_tokens(prompt.answers[0]) == "kitten"


def test_an_answer_that_merges_with_the_words_around_it_is_refused(roberta: Encoder) -> None:
    # Filled in, the sentence is cut up anew: no token of it stands for the answer alone.
    assert roberta.tokenizer.tokenize("the smalla is big")[1:4] == ["Ġ", "smal", "la"]
    assert "merges" in refusal(roberta, "the [MASK]a is big", "small")


def test_the_encoded_prompt_with_its_answer_is_the_filled_in_sentence(
    encoder: Encoder, encode: Callable
) -> None:
    for prompt, (text, answer) in zip(encode(encoder), PROMPTS, strict=True):
        filled = list(prompt.input_ids)
        filled[prompt.mask_positions[0]] = prompt.answers[0]
        assert filled == encoder.tokenizer(text.replace("[MASK]", answer)).input_ids


# Prompts: one mask, not too long


@pytest.mark.parametrize(
    ("text", "masks"), [("a cat is small", 0), ("a [MASK] is a [MASK]", 2), ("a [mask] is", 0)]
)
def test_a_prompt_without_exactly_one_mask_is_refused(
    encoder: Encoder, text: str, masks: int
) -> None:
    assert f"{masks} masks" in refusal(encoder, text, "kitten")


def test_a_second_mask_in_the_tokenizers_own_words_is_refused(roberta: Encoder) -> None:
    assert "mask token" in refusal(roberta, "a [MASK] is a <mask>", "kitten")


def test_a_prompt_longer_than_the_encoder_takes_is_refused_not_cut_off(bert: Encoder) -> None:
    longest = "cat " * (POSITIONS - 3)  # with [MASK], [CLS] and [SEP] just as many as fit
    attribute(bert, [f"{longest}[MASK]"], ["kitten"], "riemann_left", 1)
    message = refusal(bert, f"cat {longest}[MASK]", "kitten")
    assert f"{POSITIONS + 1} tokens" in message
    assert f"{POSITIONS}" in message


@pytest.mark.parametrize("limit", [POSITIONS - 2, 10**30], ids=["said", "not said"])
def test_roberta_counts_positions_from_its_padding_index(limit: int) -> None:
    model, tokenizer = tiny_model("roberta")
    tokenizer.model_max_length = limit  # 10**30: a tokenizer that doesn't say
    encoder = load_encoder(model, tokenizer)
    fits = POSITIONS - 2  # positions 0 and 1 are never used
    longest = " cat" * (fits - 3)
    attribute(encoder, [f"{longest} [MASK]"], ["kitten"], "riemann_left", 1)
    assert f"{fits + 1} tokens" in refusal(encoder, f" cat{longest} [MASK]", "kitten")


def test_no_prompts_and_lists_of_different_lengths_are_refused(bert: Encoder) -> None:
    with pytest.raises(InputError, match="no prompts"):
        attribute(bert, [], [])
    with pytest.raises(InputError, match="2 prompts but 1 answers"):
        attribute(bert, TEXTS[:2], ANSWERS[:1])


# Settings


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rule": "simpson"}, "simpson.*gauss_legendre"),
        ({"nodes": 5}, "adaptive.*nodes=5"),
        ({"rule": "gauss_legendre", "nodes": 0}, "0 nodes"),
        ({"rule": "trapezoid", "nodes": 1}, "at least 2"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"tolerance": float("nan")}, "tolerance"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    bert: Encoder, settings: dict[str, object], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        attribute(bert, TEXTS[:1], ANSWERS[:1], **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"path": "both"}, {"candidates": 0}, {"row_tokens": 0}, {"row_tokens": -3}]
)
def test_engine_settings_out_of_range_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        AttributionSettings(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("nodes", [1, 3, 7, 13])
def test_any_number_of_nodes_goes_with_any_batch(bert: Encoder, nodes: int) -> None:
    result = attribute(bert, TEXTS, ANSWERS, "riemann_right", nodes)
    assert (result.evaluations == nodes).all()


# Gradients are its own affair


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad])
def test_the_callers_grad_mode_is_neither_needed_nor_changed(bert: Encoder, mode: Callable) -> None:
    with mode():
        before = torch.is_grad_enabled()
        result = attribute(bert, TEXTS, ANSWERS, "gauss_legendre", 3)
        assert torch.is_grad_enabled() == before
    assert (result.scores != 0).any()
    assert torch.equal(result.scores, attribute(bert, TEXTS, ANSWERS, "gauss_legendre", 3).scores)


def test_inference_mode_is_refused_with_what_to_do_about_it(bert: Encoder) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match="inference_mode=False"):
        attribute(bert, TEXTS[:1], ANSWERS[:1])


@pytest.mark.parametrize(("rule", "nodes"), [("gauss_legendre", 3), ("adaptive", None)])
def test_parameters_that_ask_for_gradients_get_none_and_change_nothing(
    make_encoder: Callable, rule: str, nodes: int | None
) -> None:
    encoder = make_encoder("bert")
    expected = attribute(encoder, TEXTS, ANSWERS, rule, nodes)
    encoder.model.requires_grad_(True)
    result = attribute(encoder, TEXTS, ANSWERS, rule, nodes)
    assert torch.equal(result.scores, expected.scores)
    for field in fields(Attribution):
        assert not getattr(result, field.name).requires_grad, field.name
    assert all(parameter.grad is None for parameter in encoder.model.parameters())


def test_no_graph_and_no_cached_pass_outlives_the_call(
    bert: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kn_lightning.encoders.head import Head
    from kn_lightning.encoders.staged import StagedForward

    kept: list[weakref.ref] = []
    original_base, original = StagedForward.base, Head.probability

    def base(self: StagedForward, *args: object) -> object:
        result = original_base(self, *args)  # type: ignore[arg-type]
        kept.extend(weakref.ref(tensor) for tensor in (result.activations, result.end_gradient))
        kept.extend(weakref.ref(tensor) for tensor in result.statistics)
        kept.extend(weakref.ref(call.projected) for call in result.calls)
        return result

    def probability(self: Head, *args: object) -> torch.Tensor:
        result = original(self, *args)  # type: ignore[arg-type]
        kept.append(weakref.ref(result))
        return result

    monkeypatch.setattr(StagedForward, "base", base)
    monkeypatch.setattr(Head, "probability", probability)
    result = attribute(bert, TEXTS, ANSWERS)
    gc.collect()
    assert len(kept) > 5
    assert [reference() is None for reference in kept] == [True] * len(kept)
    assert result.scores.untyped_storage().nbytes() == result.scores.numel() * 4


# Chunks


def test_chunks_are_by_length_and_within_the_budget(bert: Encoder, encode: Callable) -> None:
    prompts = encode(bert) * 5
    lengths = [len(prompt.input_ids) for prompt in prompts]
    for tokens in (1, 20, 60, 10**6):
        chunks = list(length_chunks(prompts, tokens))
        flat = [index for chunk in chunks for index in chunk]
        assert sorted(flat) == list(range(len(prompts)))
        assert [lengths[i] for i in flat] == sorted(lengths)
        for chunk in chunks:
            size = len(chunk) * max(lengths[i] for i in chunk)
            assert size <= tokens or len(chunk) == 1
    assert list(length_chunks([], 100)) == []


def test_large_chunks_are_cut_before_they_are_mostly_padding() -> None:
    lengths = torch.randint(5, 40, (400,), generator=torch.Generator().manual_seed(0)).tolist()
    prompts = [EncodedPrompt("", "", "", None, (0,) * n, (0,), (0,)) for n in lengths]
    chunks = list(length_chunks(prompts, 10**6))
    padded = sum(len(chunk) * max(lengths[i] for i in chunk) for chunk in chunks)
    assert padded < 1.12 * sum(lengths)  # all together: 1.8
    sizes = [sum(lengths[i] for i in chunk) for chunk in chunks]
    assert min(sizes[:-1]) >= 256
    # Prompts of one length stay together.
    assert [len(chunk) for chunk in length_chunks(prompts[:1] * 300, 10**6)] == [300]


def test_an_encoder_in_training_mode_or_edited_is_refused(bert: Encoder) -> None:
    prompt, answer = [PROMPTS[0][0]], [PROMPTS[0][1]]
    with bert.edited([(0, 1)], factor=0.0), pytest.raises(InputError, match="edited"):
        attribute(bert, prompt, answer)
    bert.model.train()
    try:
        with pytest.raises(InputError, match="eval"):
            attribute(bert, prompt, answer)
    finally:
        bert.model.eval()
