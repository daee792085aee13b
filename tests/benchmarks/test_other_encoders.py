"""Encoders out of packages: read as data, converted whole, and asked proper prompts."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AlbertForMaskedLM, BertConfig, BertForMaskedLM

from kn_lightning import load_encoder
from kn_lightning.data.encoding import encode_group
from kn_lightning.data.jsonl import read_jsonl
from kn_lightning.errors import InputError
from kn_lightning.schema import MASK

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"
OWN = Path(__file__).parent / "packages_own.json"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NAMES = ("antiberty", "rxnmapper")
TINY = {
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 24,
    "max_position_embeddings": 128,
}


@pytest.fixture
def subjects(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from other_encoders import SUBJECTS

    return SUBJECTS


@pytest.fixture
def convert(subjects: Any, tmp_path: Path) -> Callable[[str, Path], Path]:
    """``convert(name, wheel)``: the folder."""
    from packaged import write_encoder

    def to_folder(name: str, wheel: Path) -> Path:
        subject = subjects[name]
        write_encoder(subject.package, wheel, subject.language.token, tmp_path / "encoder")
        return tmp_path / "encoder"

    return to_folder


def tiny_package(subject: Any, name: str) -> tuple[Any, dict[str, Any], list[str]]:
    """A model of the package's kind, its weights as the package has them, its vocabulary."""
    concepts = [*subject.language.contexts]
    vocabulary = [*SPECIAL, *dict.fromkeys([*concepts, *"ABCDEFGHIKLMNOPQRSTVWYcno().=#12>"])]
    sizes: dict[str, Any] = {**TINY, "vocab_size": len(vocabulary)}
    if name == "antiberty":
        model: Any = BertForMaskedLM(BertConfig(**sizes))
        extra = {
            "bert.embeddings.position_ids": torch.arange(128)[None],
            "bert.pooler.dense.weight": torch.ones(16, 16),
            "cls.species.weight": torch.ones(6, 16),
            "cls.graft.bias": torch.ones(2),
        }
    else:
        model = AlbertForMaskedLM(AlbertConfig(**sizes, embedding_size=8))
        extra = {"albert.pooler.weight": torch.ones(16, 16)}
    return model.eval(), {**model.state_dict(), **extra}, vocabulary


def write_wheel(
    path: Path, subject: Any, model: Any, weights: object, vocabulary: list[str]
) -> Path:
    """A wheel as the package's, with old settings beside the configuration."""
    settings = {
        **model.config.to_dict(),
        "_name_or_path": "/somewhere/else",
        "max_length": 20,
        "do_sample": False,
        "bos_token_id": 0,
    }
    saved = io.BytesIO()
    torch.save(weights, saved)
    package = subject.package
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{package.folder}/config.json", json.dumps(settings))
        archive.writestr(f"{package.folder}/pytorch_model.bin", saved.getvalue())
        archive.writestr(package.vocabulary, "\n".join(vocabulary))
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("installed", [False, True])
def test_a_wheel_becomes_an_encoder_with_the_same_logits(
    subjects: Any, convert: Any, tmp_path: Path, name: str, installed: bool
) -> None:
    model, weights, vocabulary = tiny_package(subjects[name], name)
    wheel = write_wheel(tmp_path / "p.whl", subjects[name], model, weights, vocabulary)
    if installed:
        zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
        wheel = tmp_path / "installed"
    folder = convert(name, wheel)
    encoder = load_encoder(folder)
    assert encoder.structure.n_layers == 3
    assert encoder.structure.n_neurons == 24
    text = f"CN{MASK}C"
    ids = [vocabulary.index(token) for token in ("[CLS]", "C", "N", MASK, "C", "[SEP]")]
    assert encoder.tokenizer(text).input_ids == ids
    assert encoder.tokenizer(" ".join(["C", "N", MASK, "C"])).input_ids == ids
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits
        assert torch.equal(encoder.model(torch.tensor([ids])).logits, expected)
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert "somewhere" not in (folder / "config.json").read_text()


class Malicious:
    """Writes a file where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return (open, (str(self.trace), "w"))


@pytest.mark.parametrize("name", NAMES)
def test_a_pickle_of_more_than_tensors_is_refused_and_not_executed(
    subjects: Any, convert: Any, tmp_path: Path, name: str
) -> None:
    model, weights, vocabulary = tiny_package(subjects[name], name)
    trace = tmp_path / "executed"
    weights["bad"] = Malicious(trace)
    wheel = write_wheel(tmp_path / "p.whl", subjects[name], model, weights, vocabulary)
    with pytest.raises(InputError, match="no plain tensors, not loaded"):
        convert(name, wheel)
    assert not trace.exists()
    assert not (tmp_path / "encoder").exists()


def test_what_does_not_fit_is_said(subjects: Any, convert: Any, tmp_path: Path) -> None:
    model, weights, vocabulary = tiny_package(subjects["antiberty"], "antiberty")

    def refused(changed: object, message: str) -> None:
        wheel = write_wheel(tmp_path / "p.whl", subjects["antiberty"], model, changed, vocabulary)
        with pytest.raises(InputError, match=message):
            convert("antiberty", wheel)

    norm = "bert.encoder.layer.0.output.LayerNorm.weight"
    refused({key: one for key, one in weights.items() if key != norm}, f"missing.*{norm}")
    refused({**weights, "cls.other": torch.ones(2)}, "without a place.*cls.other")
    refused({**weights, norm: torch.ones(3)}, "don't fit its configuration.*size mismatch")
    tied = "cls.predictions.decoder.weight"
    refused({**weights, tied: weights[tied] + 1}, "tied to a tensor that differs")
    refused([torch.ones(2)], "no table of tensors")
    with pytest.raises(InputError, match="has no .*config.json"):
        convert("antiberty", tmp_path)
    with pytest.raises(InputError, match="give a wheel"):
        convert("antiberty", tmp_path / "absent.whl")


@pytest.mark.parametrize("name", NAMES)
def test_prompts_are_sequences_with_one_token_masked(
    subjects: Any, tmp_path: Path, name: str
) -> None:
    from masked_sequences import read_sequences, write_prompts

    language = subjects[name].language
    write_prompts(tmp_path / "p.jsonl", language)
    sequences = set(read_sequences(language.sequences).values())
    groups = [*read_jsonl(tmp_path / "p.jsonl")]
    assert [group.concept for group in groups] == [*language.contexts]
    for group in groups:
        texts = {prompt.text for prompt in group.prompts}
        assert len(texts) == len(group.prompts) >= 4
        assert {text.replace(MASK, group.concept) for text in texts} <= sequences
        assert all(text.count(MASK) == 1 for text in texts)


def test_a_token_is_masked_and_no_part_of_one(subjects: Any, tmp_path: Path) -> None:
    from masked_sequences import Language, prompt_groups

    (tmp_path / "few.txt").write_text("# names\none ClC[Cl-]C\n")
    language = Language(tmp_path / "few.txt", subjects["rxnmapper"].language.token, {"C": ("_",)})
    (group,) = prompt_groups(language)
    assert [one.text for one in group.prompts] == ["Cl[MASK][Cl-]C", "ClC[Cl-][MASK]"]


@pytest.fixture(params=NAMES)
def package(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """A real package's name and wheel, where an environment variable says where it is."""
    variable = f"{request.param.upper()}_WHEEL"
    if variable not in os.environ:
        pytest.skip(f"{variable} does not name the wheel of {request.param}")
    return request.param, Path(os.environ[variable])


@pytest.mark.slow
def test_the_package_itself_gives_the_same_logits(
    subjects: Any, convert: Any, package: tuple[str, Path]
) -> None:
    name, wheel = package
    encoder = load_encoder(convert(name, wheel))
    assert encoder.structure.n_layers == {"antiberty": 8, "rxnmapper": 12}[name]
    for own in json.loads(OWN.read_text(encoding="utf-8"))[name]:
        ids = encoder.tokenizer(own["text"]).input_ids
        assert ids == own["input_ids"]
        with torch.no_grad():
            logits = encoder.model(torch.tensor([ids])).logits[0]
        at_mask = logits[ids.index(encoder.tokenizer.mask_token_id)]
        for token, expected in own["logits"].items():
            assert at_mask[int(token)].item() == pytest.approx(expected, abs=2e-3)
    from masked_sequences import prompt_groups

    for group in prompt_groups(subjects[name].language):
        encoded, skipped = encode_group(encoder, group)
        assert encoded is not None
        assert not skipped
