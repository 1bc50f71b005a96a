"""The JSON line of an event: one face, or one announcement. Pure text, made for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

import numpy as np
import orjson
from numpy.typing import NDArray

from shared.errors import RangeError
from shared.messages import Run

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - UTC throughout
_FEW = 4  # up to which numpy costs more than it saves
_LAST_MOMENT = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z, the last that RFC 3339 can name


class Status(IntEnum):
    """What became of a face. A higher one replaces a lower one that was told before."""

    UNRESOLVED = 0
    BURNED = 1
    VERIFIED = 2


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Faces that share a fate, slots in order.

    cameras: of each run. times: (F,) uint64, capture times in unix ms. names: of the live places.
    bits: (F, live) bool or 0 and 1. transcript: 32 bytes. at_ms: when it was settled, unix ms.
    """

    batch_id: bytes
    window: str
    runs: tuple[Run, ...]
    cameras: tuple[str, ...]
    times: NDArray[np.uint64]
    names: tuple[str, ...]
    bits: NDArray[np.bool_] | NDArray[np.uint8] = field(repr=False)
    transcript: bytes
    at_ms: int

    def __post_init__(self) -> None:
        faces = sum(run.length for run in self.runs)
        if self.times.shape != (faces,) or self.bits.shape != (faces, len(self.names)):
            raise RangeError(
                f"events: found times {self.times.shape} and bits {self.bits.shape}, expected "
                f"{faces} faces and {len(self.names)} places"
            )
        if len(self.cameras) != len(self.runs):
            raise RangeError(f"events: found {len(self.cameras)} cameras for {len(self.runs)} runs")


@dataclass(frozen=True, slots=True)
class Group:
    """What the lines of a batch have in common."""

    window: str
    status: Status
    batch_id: bytes
    transcript: bytes
    at_ms: int
    reason: str | None

    def tail(self) -> str:
        """The end of each line."""
        content: dict[str, object] = {
            "batch": self.batch_id.hex(),
            "transcript": self.transcript.hex(),
            f"{self.status.name.lower()}_at": rfc3339(self.at_ms),
        }
        if self.reason is not None:
            content["reason"] = self.reason
        return orjson.dumps(content).decode()[1:] + "\n"


def matched_entries(names: Sequence[str], bits: NDArray[np.generic]) -> dict[int, str]:
    """For each face with a match its entries' names, as JSON, by the face's number."""
    rows: list[int] = np.flatnonzero(bits.any(axis=1)).tolist() if bits.size else []
    return {
        row: orjson.dumps([names[place] for place in np.flatnonzero(bits[row]).tolist()]).decode()
        for row in rows
    }


def face_lines(
    sequence: int,
    group: Group,
    runs: Sequence[Run],
    cameras: Sequence[str],
    times: NDArray[np.uint64],
    entries: dict[int, str],
) -> list[str]:
    """One line a face, numbered from `sequence` on. Shapes as in `EventBatch`."""
    moments = _moments(times)
    tail = group.tail()
    status = group.status.name.lower()
    lines = []
    face = 0
    for run, camera in zip(runs, cameras, strict=True):
        shared_part = orjson.dumps(
            {"window": group.window, "camera": camera, "set": run.set_id.hex()}
        )
        head = f'{shared_part.decode()[1:-1]},"slot":'
        for slot in range(run.first, run.stop):
            lines.append(
                f'{{"sequence":{sequence + face},"event":"face",{head}{slot},'
                f'"captured":"{moments[face]}Z","status":"{status}",'
                f'"entries":{entries.get(face, "[]")},{tail}'
            )
            face += 1
    return lines


def announcement_line(sequence: int, at_ms: int, kind: str, detail: str) -> str:
    """The line of an announcement."""
    content = {
        "sequence": sequence,
        "event": "announcement",
        "at": rfc3339(at_ms),
        "kind": kind,
        "detail": detail,
    }
    return orjson.dumps(content).decode() + "\n"


def rfc3339(unix_ms: int) -> str:
    """UTC with milliseconds; moments that have no such name become the last that has."""
    return _moment(unix_ms) + "Z"


def _moment(unix_ms: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=min(unix_ms, _LAST_MOMENT))
    return moment.isoformat(timespec="milliseconds")


def _moments(times: NDArray[np.uint64]) -> list[str]:
    if len(times) <= _FEW:
        return [_moment(time) for time in times.tolist()]
    bounded = np.minimum(times, np.uint64(_LAST_MOMENT)).astype("datetime64[ms]")
    moments: list[str] = np.datetime_as_string(bounded).tolist()
    return moments
