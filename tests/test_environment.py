"""What is kept of the machine that a study ran on."""

from __future__ import annotations

import pytest

from kn_lightning.environment import shareable, study_settings


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
