"""Addresses: what of them is written down."""

from __future__ import annotations

import pytest

from kn_lightning.data.addresses import public_url


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
        ("data.zip", "data.zip"),
        ("", ""),
    ],
)
def test_user_password_query_and_fragment_are_left_out(url: str, public: str) -> None:
    assert public_url(url) == public
