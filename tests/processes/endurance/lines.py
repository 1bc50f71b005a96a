"""The report of an endurance run, for a person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perf.deployment import PARTIES
from tests.processes.endurance.samples import Flatness


def lines(report: dict[str, Any]) -> Iterator[str]:
    """A report for a person."""
    counts = report["counts"]
    yield (
        f"{report['faces']:,} faces in {report['seconds'] / 60:.1f} min "
        f"({report['faces_per_second']:.0f}/s), {len(report['windows'])} windows, "
        f"{len(report['list_changes'])} changes of the watchlist, "
        f"{len(report['restarts'])} restarts, "
        f"{len(report['minted_meanwhile'])} windows minted meanwhile"
    )
    for who in PARTIES:
        yield f"{who}: " + ", ".join(f"{n:,} {what}" for what, n in counts[who].items())
    lag = report["list_lag_seconds"]
    yield (
        f"{report['bits_compared']:,} bits compared, {report['matches']:,} matches; a former list "
        f"was seen for {lag['median']} s (median), {lag['most']} s at most"
    )
    for one in report["flatness"]:
        yield Flatness(**one).line()
    for kind, size in report["kept_bytes_per_face"].items():
        yield f"{kind}: {size} bytes a face, both parties together"
    yield from report["audit"]
    for who in PARTIES:
        yield f"announcements of {who}: {report['announcements'][who] or 'none'}"
    for text, times in report["unexpected_log_lines"].items():
        yield f"unexpected log line, {times} times: {text}"
    for problem in report["problems"]:
        yield f"problem: {problem}"
    if report["more_problems"]:
        yield f"and {report['more_problems']} more problems"
    yield "SOUND" if report["sound"] else "NOT SOUND"
