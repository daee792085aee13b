"""The benchmark of memory asks every encoder about words that it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_lightning import load_encoder
from kn_lightning.errors import InputError

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def test_prompts_are_of_an_encoders_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from encoder_memory import own_words
    from setting import random_groups

    encoder = load_encoder("embedded")
    words = own_words(encoder, 2)
    assert {"kitten", "[MASK]"} & {*words} == {"kitten"}
    for group in random_groups(words, 2, 12):
        assert {len(encoder.tokenizer(one.text).input_ids) for one in group.prompts} == {12}
    with pytest.raises(InputError, match="--groups 1000000: embedded has .* give fewer"):
        own_words(encoder, 1_000_000)
