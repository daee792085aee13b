"""Fixtures of all tests: tiny encoders of four architectures, shared material, torch's state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from encoders.tiny import ARCHITECTURES, PROMPTS, fingerprint, tiny_model
from report.chromium import chromium_path

if TYPE_CHECKING:
    from kn_lightning.encoders.encoder import Encoder
    from kn_lightning.schema import EncodedPrompt

REPOSITORY = Path(__file__).parent.parent


def pytest_configure() -> None:
    """One thread: files run beside one another, and how many share a sum changes its last bits."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that none of them is the last one and runs alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _torch_state() -> Iterator[None]:
    """Each test starts from one seed and leaves torch as it was."""
    threads, grad, dtype = (
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )
    torch.manual_seed(0)
    yield
    leaked = torch.is_grad_enabled() != grad
    torch.set_num_threads(threads)
    torch.set_grad_enabled(grad)
    torch.set_default_dtype(dtype)
    assert not leaked, "the test, or what it tests, left torch in another grad mode"


@pytest.fixture(autouse=True, scope="session")
def _no_tagger() -> Iterator[None]:
    """Studies neither download nltk's tagger nor depend on whether this machine has it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch_tagger", "load_tagger"):
            patch.setattr(f"kn_lightning.data.part_of_speech.{name}", lambda: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Material beside the repository that only some machines have."""
    folder = REPOSITORY.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not on this machine")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    return chromium_path()


@pytest.fixture(scope="session")
def make_encoder() -> Callable[..., Encoder]:
    """``make_encoder("bert", dtype, seed, **config)``: a fresh encoder, the caller's own."""
    from kn_lightning import load_encoder

    def make(
        architecture: str = "bert",
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
        **settings: object,
    ) -> Encoder:
        model, tokenizer = tiny_model(architecture, seed, **settings)
        return load_encoder(model.to(dtype), tokenizer)

    return make


@pytest.fixture(scope="session")
def tiny_encoders(
    make_encoder: Callable[..., Encoder],
) -> Iterator[Callable[[str, torch.dtype], Encoder]]:
    """``tiny_encoders("bert", dtype)``: shared between tests, which must leave them as they are."""
    made: dict[tuple[str, torch.dtype], Encoder] = {}
    before: dict[tuple[str, torch.dtype], dict[str, object]] = {}

    def get(architecture: str, dtype: torch.dtype) -> Encoder:
        key = (architecture, dtype)
        if key not in made:
            made[key] = make_encoder(*key)
            before[key] = fingerprint(made[key].model)
        return made[key]

    yield get
    for key, encoder in made.items():
        assert fingerprint(encoder.model) == before[key], f"a test left {key} changed"


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    """Each of the four."""
    return str(request.param)


@pytest.fixture
def encoder(architecture: str, tiny_encoders: Callable[..., Encoder]) -> Encoder:
    """Each architecture in float32; shared between tests, which must leave it as it is."""
    return tiny_encoders(architecture, torch.float32)


@pytest.fixture
def encoder64(architecture: str, tiny_encoders: Callable[..., Encoder]) -> Encoder:
    """Each architecture in float64."""
    return tiny_encoders(architecture, torch.float64)


@pytest.fixture
def bert(tiny_encoders: Callable[..., Encoder]) -> Encoder:
    """The tiny BERT in float32."""
    return tiny_encoders("bert", torch.float32)


@pytest.fixture
def bert64(tiny_encoders: Callable[..., Encoder]) -> Encoder:
    """The tiny BERT in float64."""
    return tiny_encoders("bert", torch.float64)


@pytest.fixture
def roberta(tiny_encoders: Callable[..., Encoder]) -> Encoder:
    """The tiny RoBERTa in float32."""
    return tiny_encoders("roberta", torch.float32)


@pytest.fixture(scope="session")
def encode() -> Callable[..., list[EncodedPrompt]]:
    """``encode(encoder, pairs, several)``: prompts with answers as the encoder reads them."""
    from kn_lightning.data.encoding import encode_prompt
    from kn_lightning.schema import EncodedPrompt, Prompt

    def encoded(
        encoder: Encoder, pairs: list[tuple[str, str]] | None = None, several: bool = False
    ) -> list[EncodedPrompt]:
        results = [
            encode_prompt(encoder, Prompt(text), answer, str(i), several)
            for i, (text, answer) in enumerate(PROMPTS if pairs is None else pairs)
        ]
        bad = [result for result in results if not isinstance(result, EncodedPrompt)]
        assert not bad, bad
        return results  # type: ignore[return-value]

    return encoded
