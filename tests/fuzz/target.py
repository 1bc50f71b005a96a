"""What a target is, and how an input is judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.errors import TwokeyError
from shared.logs import one_line
from tests.fuzz.mutation import Syntax

ACCEPTED = "accepted"
_LONGEST_LINE = 1_000

Check = Callable[[bytes], None]


class Finding(AssertionError):
    """An input that is neither refused as it should be nor what it is taken for."""


@dataclass(frozen=True)
class Target:
    """One decoder.

    check: decodes; raises a typed error, returns, or raises Finding where what was read does not
    encode to the input again. samples: valid inputs. share: of the inputs of a run, as a weight.
    """

    name: str
    check: Check
    samples: tuple[bytes, ...]
    syntax: Syntax = Syntax.RAW
    share: float = 1.0


def judge(target: Target, data: bytes) -> str:
    """How the input ended: ACCEPTED, or the name of the typed error. All else is raised."""
    try:
        target.check(data)
    except TwokeyError as error:
        text = str(error)
        line = one_line(text, _LONGEST_LINE)
        if not line or len(text) > _LONGEST_LINE or not line.isprintable():
            raise Finding(f"the error is not one clear line: {text!r:.300}") from error
        return type(error).__name__
    return ACCEPTED


def same(found: object, expected: object) -> None:
    """Raises Finding unless both are equal."""
    if found != expected:
        raise Finding(f"read as {found!r:.300}, the input was {expected!r:.300}")
