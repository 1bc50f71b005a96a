"""Results of benchmarks over time: one JSON object a line, in a file that only grows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from shared.errors import FormatError, InputError, ResourceError

HISTORY = Path("perf") / "history.jsonl"
_FIELDS = {"kind", "at", "result"}


@dataclass(frozen=True, slots=True)
class Record:
    """A benchmark's JSON object. kind: the command; at: when, RFC 3339 in UTC."""

    kind: str
    at: str
    result: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """The commit that was measured; empty when unknown."""
        return str(self.result.get("machine", {}).get("commit", ""))


def append(path: Path, kind: str, result: Mapping[str, Any]) -> None:
    """Adds a result. Raises InputError where the folder is missing, ResourceError."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = orjson.dumps({"kind": kind, "at": at, "result": result}) + b"\n"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise InputError(f"{path}: its folder is not there") from None
    except OSError as error:
        raise ResourceError(f"{path}: {error.strerror}") from None
    try:
        os.write(handle, line)
    finally:
        os.close(handle)


def read(path: Path) -> list[Record]:
    """All results, oldest first; none where there is no file. Raises FormatError."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            content = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise FormatError(f"{path}: line {number} is not JSON") from None
        if (
            not isinstance(content, dict)
            or set(content) != _FIELDS
            or not isinstance(content["result"], dict)
        ):
            raise FormatError(f"{path}: line {number} is not a benchmark's result")
        found.append(Record(content["kind"], content["at"], content["result"]))
    return found


def latest(records: list[Record], kind: str) -> Record | None:
    """The last result of a kind."""
    return next((record for record in reversed(records) if record.kind == kind), None)
