"""Secrets do not show themselves."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

from shared.secret import Secret

CONTENT = b"\xc3rown jewels, 32 bytes of them.."


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>20}".format])
def test_a_secret_prints_as_its_type_only(show: Callable[[object], str]) -> None:
    assert show(Secret(CONTENT)).strip() == "Secret"


@pytest.mark.parametrize(
    "use",
    [
        bool,
        hash,
        copy.copy,
        copy.deepcopy,
        pickle.dumps,
        lambda secret: secret == Secret(CONTENT),
        lambda secret: secret != CONTENT,
    ],
)
def test_a_secret_refuses_truth_comparison_and_copies(use: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        use(Secret(CONTENT))


def test_a_secret_reveals_what_it_was_given() -> None:
    assert Secret(bytearray(CONTENT)).reveal() == CONTENT


def test_a_destroyed_secret_is_of_no_use() -> None:
    secret = Secret(CONTENT)
    secret.destroy()
    secret.destroy()
    with pytest.raises(ValueError, match="destroyed"):
        secret.reveal()
