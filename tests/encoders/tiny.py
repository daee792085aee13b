"""Tiny masked LMs of four architectures with real tokenizers, all made here without any network.

Weights are random but large, so that probabilities and the effects of neurons are far from uniform:
with the usual 0.02 a wrong neuron, layer or factor would hide behind the tolerance of a test.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import torch
import transformers
from tokenizers import (
    AddedToken,
    ByteLevelBPETokenizer,
    Tokenizer,
    models,
    pre_tokenizers,
    processors,
)
from transformers import PreTrainedModel, PreTrainedTokenizerBase

HIDDEN, LAYERS, HEADS, NEURONS, POSITIONS = 16, 3, 4, 24, 40
"""Of every tiny encoder; all different, so that no axis can stand for another unseen."""

_TEXT = (
    "a the of is to be was will in and young small big animal fur grow up cat dog sheep cow horse"
    " kitten puppy lamb calf foal capital city paris rome london france italy england language"
    " french english milk wool barn farm river bank large every once became play word on"
)
WORDS = _TEXT.split()
PIECES = ["##s", "##ing", "##ed", "##e"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

PROMPTS = [
    ("[MASK] will grow up to be a cat.", "kitten"),
    ("the young of a cat is a [MASK].", "kitten"),
    ("a [MASK] is small.", "puppy"),
    ("the capital of france is [MASK].", "paris"),
    ("[MASK] is the capital of italy and a large city on the river.", "rome"),
    ("[MASK].", "lamb"),
    ("every cow was once a [MASK] on the farm.", "calf"),
]
"""Seven prompts of different lengths, their answers single tokens for every tokenizer here."""

# Counted by hand, for V tokens of the vocabulary; H = 16, I = 24, P = 40 positions, 3 layers.
_ATTENTION = 4 * (16 * 16 + 16)
_FEED_FORWARD = 16 * 24 + 24 + 24 * 16 + 16
_POST_NORM_LAYER = _ATTENTION + _FEED_FORWARD + 2 * 2 * 16
_POST_NORM_HEAD = 16 * 16 + 16 + 2 * 16  # the decoder is tied, its bias comes with V
PARAMETERS: dict[str, Callable[[int], int]] = {
    # words, positions, 2 token types (RoBERTa: 1), a norm
    "bert": lambda v: 16 * (v + 40 + 2 + 2) + 3 * _POST_NORM_LAYER + _POST_NORM_HEAD + v,
    "roberta": lambda v: 16 * (v + 40 + 1 + 2) + 3 * _POST_NORM_LAYER + _POST_NORM_HEAD + v,
    "distilbert": lambda v: 16 * (v + 40 + 2) + 3 * _POST_NORM_LAYER + _POST_NORM_HEAD + v,
    # no positions; layers and norms without biases, no norm before the first attention
    "modernbert": lambda v: (
        (16 * (v + 1))
        + 3 * (4 * 16 * 16 + 16 * 2 * 24 + 24 * 16)
        + (3 + 2) * 16
        + 16  # final norm
        + (16 * 16 + 16)
        + v
    ),
}
ARCHITECTURES = tuple(PARAMETERS)


def wordpiece_tokenizer() -> PreTrainedTokenizerBase:
    """BERT's tokenizer, uncased: words, four pieces and no letters: odd words become [UNK]."""
    tokens = [*SPECIAL, ".", ",", *WORDS, *PIECES]
    return transformers.BertTokenizer(
        vocab={token: i for i, token in enumerate(tokens)}, model_max_length=POSITIONS
    )


def byte_level_tokenizer() -> PreTrainedTokenizerBase:
    """RoBERTa's tokenizer, trained here: a word is one token at the start, another inside."""
    trained = ByteLevelBPETokenizer()
    words = " ".join(WORDS)
    sentences = [text.replace("[MASK]", word) for text, word in PROMPTS]
    # Words at the start of a line learn their form without, all others that with a leading space.
    trained.train_from_iterator(
        20 * [words, *sentences, *WORDS, "Rome is", "Kitten is"],
        vocab_size=700,
        min_frequency=2,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        show_progress=False,
    )
    model = json.loads(trained.to_str())["model"]
    tokenizer = transformers.RobertaTokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        model_max_length=POSITIONS - 2,
    )
    # As the Hub's RoBERTa has it: the mask swallows the space before it.
    tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=True, special=True)})
    return tokenizer


def word_tokenizer() -> PreTrainedTokenizerBase:
    """A generic fast tokenizer (as ModernBERT's): whole words, case kept."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, ".", ",", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=POSITIONS,
    )


def tiny_model(
    architecture: str, seed: int = 0, **settings: object
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A random masked LM in eval mode and its tokenizer."""
    sizes = {
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": NEURONS,
        "max_position_embeddings": POSITIONS,
        "initializer_range": 0.4,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if architecture == "roberta":
            tokenizer = byte_level_tokenizer()
            config = transformers.RobertaConfig(
                vocab_size=len(tokenizer), type_vocab_size=1, pad_token_id=1, **sizes | settings
            )
            model: PreTrainedModel = transformers.RobertaForMaskedLM(config)
        elif architecture == "distilbert":
            tokenizer = wordpiece_tokenizer()
            config = transformers.DistilBertConfig(
                vocab_size=len(tokenizer),
                dim=HIDDEN,
                n_layers=LAYERS,
                n_heads=HEADS,
                max_position_embeddings=POSITIONS,
                **{"hidden_dim": NEURONS, "initializer_range": 0.4} | settings,
            )
            model = transformers.DistilBertForMaskedLM(config)
        elif architecture == "modernbert":
            tokenizer = word_tokenizer()
            config = transformers.ModernBertConfig(
                vocab_size=len(tokenizer),
                pad_token_id=0,
                bos_token_id=2,
                cls_token_id=2,
                eos_token_id=3,
                sep_token_id=3,
                local_attention=4,  # so that short prompts reach beyond the window
                initializer_cutoff_factor=3.0,
                **sizes | settings,
            )
            model = transformers.ModernBertForMaskedLM(config)
        else:
            tokenizer = wordpiece_tokenizer()
            config = transformers.BertConfig(vocab_size=len(tokenizer), **sizes | settings)
            model = transformers.BertForMaskedLM(config)
        with torch.no_grad():  # biases and norms are born as zeros and ones, where mistakes hide
            for parameter in model.parameters():
                if parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval(), tokenizer


def fingerprint(model: torch.nn.Module) -> dict[str, object]:
    """All that surgery could leave behind: hooks, replaced forwards, bits of weights, modes."""
    marks: dict[str, object] = {}
    for name, module in model.named_modules():
        hooks = (module._forward_pre_hooks, module._forward_hooks, module._backward_hooks)
        marks[f"{name} hooks"] = [len(hook) for hook in hooks]
        marks[f"{name} own forward"] = "forward" in module.__dict__
        marks[f"{name} training"] = module.training
    for name, tensor in model.state_dict(keep_vars=True).items():
        marks[name] = (tensor.requires_grad, tensor.grad is None, tensor.double().sum().item())
        marks[f"{name} bits"] = hash(tensor.detach().contiguous().numpy().tobytes())
    return marks
