"""What is kept of the machine that a study ran on."""

from __future__ import annotations

from pathlib import Path

import pytest

from kn_lightning.environment import shareable, study_identity, study_settings


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/home/me/models/bert", "bert"),
        ("/home/me/models/bert/", "bert"),
        ("~/models/bert", "bert"),
        ("C:\\Users\\me\\prompts.jsonl", "prompts.jsonl"),
        ("models/bert", "models/bert"),
        ("google-bert/bert-base-uncased", "google-bert/bert-base-uncased"),
        ("https://example.org/a/b.zip", "https://example.org/a/b.zip"),
        ("https://me:key@example.org/a/b.zip?token=key#key", "https://example.org/a/b.zip"),
        ("/", "/"),
        (0.2, 0.2),
        (None, None),
    ],
)
def test_of_an_absolute_path_the_name_is_kept(value: object, kept: object) -> None:
    assert shareable(value) == kept
    assert shareable({"a": [value, {"b": value}]}) == {"a": [kept, {"b": kept}]}


def test_which_answers_are_asked_about_makes_a_study_what_it_is() -> None:
    model = {"encoder": "embedded", "answers": "multi", "row_tokens": 5}
    assert study_settings({"model": model})["model.answers"] == "multi"


def test_an_encoder_is_the_same_from_wherever_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bert").mkdir()
    monkeypatch.chdir(tmp_path)
    hashes = ("weights_sha256", "config_sha256", "tokens_sha256")
    record = {"data": {"sha256": "", "pos_sha256": ""}, "encoder": dict.fromkeys(hashes, "")}

    def identity(name: str) -> dict[str, object]:
        return study_identity({"model": {"encoder": name}}, record)

    assert identity("bert")["model.encoder"] == "bert"
    assert identity("./bert") == identity("bert/") == identity(str(tmp_path / "bert"))
    assert identity("./bert") == identity("bert")
    assert identity("google-bert/bert")["model.encoder"] == "google-bert/bert"
