"""Addresses: what of them is written down."""

from __future__ import annotations

import re

import pytest

from kn_lightning.data.addresses import public_text, public_url


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://host/a/data.zip", "https://host/a/data.zip"),
        ("https://me:PW@host:80/data.zip?token=T#part", "https://host:80/data.zip"),
        ("https://PW@host/data.zip", "https://host/data.zip"),
        ("https://me:P@W@host/data.zip", "https://host/data.zip"),
        ("https://host?to=me@there", "https://host"),
        ("https://host/@scope/data.zip", "https://host/@scope/data.zip"),
        ("http://me:PW@[::1/data.zip", "http://[::1/data.zip"),
        ("me:PW@host/data.zip?token=T", "host/data.zip"),
        ("//me:PW@host/data.zip", "//host/data.zip"),
        ("http:/me:PW@host/data.zip", "http:/host/data.zip"),
        ("https://me:P/W@host/data.zip?token=T", "https://host/data.zip"),
        ("ftp://me:P W@host:21/run", "ftp://host:21/run"),
        ("ftp://me:P#W@host/run", "ftp://host/run"),
        ("https://host:80/@scope/data.zip", "https://host:80/@scope/data.zip"),
        ("data.zip", "data.zip"),
        ("", ""),
    ],
)
def test_user_password_query_and_fragment_are_left_out(url: str, public: str) -> None:
    assert public_url(url) == public


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("data.url http://me:PW@host/x?token=T: none", "data.url http://host/x: none"),
        ("--data.url=https://host/x?T (did you mean https://me@host/x?T?); help", None),
        ("path http:/me:P@W@host/x#T, 's3://PW@b/run?T'; [//me:PW@host/x]", None),
        ("no address: https://me:P/PW@host/x.zip?T", "no address: https://host/x.zip"),
        ("is it there? give #1, a@b.c or no-such/encoder@main; see C:/me@x/a?b", ""),
        ("/home//me@x/a#b is what http://host/x? and (see http://host/x).", ""),
    ],
)
def test_message_has_addresses_without_secrets_and_all_else(text: str, public: str | None) -> None:
    if public is None:
        assert "PW" not in public_text(text)
        assert not re.search(r"\bT\b|me:|me@", public_text(text))
    else:
        assert public_text(text) == (public or text)
