"""Plain text for training: its lines, cut, split and masked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kn_lightning.data.text_lines import TextLines
from kn_lightning.encoders.encoder import Encoder
from kn_lightning.errors import InputError

Attach = Callable[..., Any]


def text_lines(path: Path, content: str | bytes, **settings: Any) -> TextLines:
    """Text lines of a file with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return TextLines(path, **settings)


def test_text_lines_are_the_files_lines_but_for_blank_ones(
    tmp_path: Path, bert: Encoder, attach: Attach
) -> None:
    content = "\ufeffa cat.\r\n\r\n  a dog. \n\na sheep and a cow."
    data = attach(text_lines(tmp_path / "text", content, validation_share=0.0))
    data.setup("fit")
    lines = [bert.tokenizer.decode(ids, skip_special_tokens=True) for ids in data._training]
    assert lines == ["a cat.", "a dog.", "a sheep and a cow."]
    assert data._validation == []


def test_long_lines_are_cut_to_what_the_encoder_takes(
    tmp_path: Path, bert: Encoder, attach: Attach
) -> None:
    data = attach(text_lines(tmp_path / "text", "cat " * 100, validation_share=0.0))
    data.setup("fit")
    (ids,) = data._training
    assert len(ids) == bert.max_tokens
    assert ids[-1] == bert.tokenizer.sep_token_id


def test_validation_lines_are_spread_and_masked_alike_in_every_epoch(
    tmp_path: Path, bert: Encoder, attach: Attach
) -> None:
    words = ["cat", "dog", "sheep", "cow", "horse", "barn", "farm", "river", "city", "bank"]
    content = "\n".join(f"the {word} is on the farm and in the young city." for word in words)
    data = attach(text_lines(tmp_path / "text", content, validation_share=0.3, batch_size=2))
    data.setup("fit")
    kept = [words.index(bert.tokenizer.decode(ids).split()[2]) for ids in data._validation]
    assert kept == [3, 6, 9]
    assert len(data._training) == 7
    loader = data.val_dataloader()
    epochs = [list(loader), list(loader)]
    for first, second in zip(*epochs, strict=True):
        for key in first:
            assert torch.equal(first[key], second[key])


def test_text_lines_without_a_line_a_file_or_utf8_are_refused(
    tmp_path: Path, attach: Attach
) -> None:
    for data in (
        text_lines(tmp_path / "blank", " \n\n"),
        text_lines(tmp_path / "latin", b"caf\xe9"),
        TextLines(tmp_path / "none"),
    ):
        with pytest.raises(InputError, match=rf"data\.path {data.path}"):
            attach(data).setup("fit")


def test_text_lines_hold_nothing_to_study(tmp_path: Path, attach: Attach) -> None:
    with pytest.raises(InputError, match="train.py"):
        attach(text_lines(tmp_path / "text", "a cat.")).setup("predict")
