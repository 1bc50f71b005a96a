"""Log records: one line each, whatever is in them."""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest

from shared import logs


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:], root.level = handlers, level


def fail() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("party.node").exception("it\nfailed", extra={"window": "w\n1"})


def test_a_plain_record_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWOKEY_DEBUG", raising=False)
    logs.configure("info")
    logging.getLogger("x").debug("not shown")
    fail()
    err = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z error party\.node: "
        r"it failed \(ValueError: first second\) window=w 1\n",
        err,
    )


def test_a_json_record_is_one_object_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TWOKEY_DEBUG", raising=False)
    logs.configure("info", json=True)
    fail()
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found.pop("time").endswith("Z")
    assert found == {
        "level": "error",
        "logger": "party.node",
        "message": "it failed (ValueError: first second)",
        "window": "w\n1",
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_tracebacks_are_shown_for_debugging(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    monkeypatch.setenv("TWOKEY_DEBUG", "1")
    logs.configure("info", json=as_json)
    fail()
    assert "Traceback" in capsys.readouterr().err


def test_warnings_become_records(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure("warning")
        warnings.warn("careful", stacklevel=1)
    assert "warning py.warnings: " in capsys.readouterr().err


def test_long_and_strange_text_is_made_harmless() -> None:
    assert logs.one_line("a\tb\r\n c\x1b[2J\u202e") == "a b c?[2J?"
    assert logs.one_line("x" * 1000, limit=10) == "xxxxxxx..."
