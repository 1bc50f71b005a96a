"""What both parties reported, frame by frame, against what the video is known to show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from perf.demo_footage import ExpectedFrame
from shared.errors import FormatError

_VERIFIED = "verified"


@dataclass(frozen=True, slots=True)
class Record:
    """A party's last word on a face. captured_ms: Unix time. status: as in the events file."""

    captured_ms: int
    status: str
    entries: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A frame of the video. verified_by: for each party how many of its faces it verified."""

    time_ms: int
    faces: int
    entries: tuple[str, ...]
    verified_by: tuple[int, int]
    shows: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """matches: faces with an entry, verified by both. unresolved: faces without two verdicts.

    deviations: one line for each thing that is not as expected.
    """

    rows: tuple[Row, ...]
    faces: int
    matches: int
    unresolved: int
    deviations: tuple[str, ...]


def read_records(lines: Iterable[bytes]) -> dict[int, Record]:
    """The last record of each slot in a party's events file. Raises FormatError."""
    found: dict[int, Record] = {}
    for line in lines:
        try:
            event = orjson.loads(line)
            if event["event"] == "face":
                moment = datetime.fromisoformat(event["captured"])
                found[event["slot"]] = Record(
                    round(moment.timestamp() * 1000), event["status"], tuple(event["entries"])
                )
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise FormatError("events file: found a line that is no event") from None
    return found


def compare(
    expected: Sequence[ExpectedFrame],
    told: tuple[dict[int, Record], dict[int, Record]],
    start_ms: int,
    entry: str,
) -> Outcome:
    """Both parties' records of each slot, by frame. entry: the name that matches must have."""
    deviations: list[str] = []
    slots = sorted(told[0].keys() | told[1].keys())
    unresolved = sum(not all(_is_verified(one, slot) for one in told) for slot in slots)
    for slot in slots:
        first, second = (records.get(slot) for records in told)
        if first != second:
            deviations.append(f"slot {slot}: P0 reports {first}, P1 {second}")
    by_time: dict[int, list[int]] = {}
    for slot in slots:
        record = told[0].get(slot) or told[1][slot]
        by_time.setdefault(record.captured_ms - start_ms, []).append(slot)
    rows = []
    for frame in expected:
        row = _row(frame, by_time.pop(frame.time_ms, []), told)
        rows.append(row)
        wanted = (frame.faces, (entry,) * frame.matches, (frame.faces, frame.faces))
        if (row.faces, row.entries, row.verified_by) != wanted:
            deviations.append(f"{frame.time_ms} ms: found {row}, expected {frame}")
    deviations += [f"{moment} ms: no frame has this time" for moment in by_time]
    return Outcome(
        tuple(rows),
        len(slots),
        sum(len(row.entries) for row in rows),
        unresolved,
        tuple(deviations),
    )


def _row(frame: ExpectedFrame, slots: list[int], told: tuple[dict[int, Record], ...]) -> Row:
    agreed = [slot for slot in slots if all(_is_verified(records, slot) for records in told)]
    return Row(
        frame.time_ms,
        len(slots),
        tuple(name for slot in agreed for name in told[0][slot].entries),
        (_verified(told[0], slots), _verified(told[1], slots)),
        frame.change,
    )


def _verified(records: dict[int, Record], slots: Iterable[int]) -> int:
    return sum(_is_verified(records, slot) for slot in slots)


def _is_verified(records: dict[int, Record], slot: int) -> bool:
    record = records.get(slot)
    return record is not None and record.status == _VERIFIED
