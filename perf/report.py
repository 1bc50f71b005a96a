"""Medians with their spread, for a person and as one JSON object."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import click
import orjson
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """A quantity as it was measured in several runs."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle value."""
        return median(self.values)


def summary(figures: Iterable[Figure]) -> dict[str, object]:
    """Medians by name, and under `spread` the least and greatest of each."""
    found = list(figures)
    medians: dict[str, object] = {figure.name: figure.median for figure in found}
    spread = {f.name: {"min": min(f.values), "max": max(f.values)} for f in found}
    return {**medians, "spread": spread}


def machine() -> dict[str, object]:
    """What a figure depends on: processor, cores, memory, and the commit that was measured."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)),
        "python": platform.python_version(),
        "commit": commit(),
    }


def commit() -> str:
    """The short id of the checked-out commit, with `+` for local changes; empty when unknown."""
    folder = Path(__file__).resolve().parent.parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=8", "--dirty=+", "--exclude=*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.stdout.strip()


def show(title: str, figures: Sequence[Figure], caption: str = "") -> None:
    """A table of medians with least and greatest, on standard output."""
    table = Table("", title=title, caption=caption, caption_justify="left")
    for heading in ("median", "least", "greatest"):
        table.add_column(heading, justify="right")
    for figure in figures:
        values = (figure.median, min(figure.values), max(figure.values))
        table.add_row(figure.name.replace("_", " "), *(number(value) for value in values))
    _console().print(table)


def show_rows(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table of numbers, on standard output."""
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*(number(v) if isinstance(v, float) else str(v) for v in row))
    _console().print(table)


def emit(content: Mapping[str, object]) -> None:
    """One JSON object as a line."""
    click.echo(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY).decode())


def number(value: float) -> str:
    """Readable: thousands apart, three digits that count for small ones."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _console() -> Console:
    """As wide as the terminal; wide where the output goes to a file."""
    return Console() if Console().is_terminal else Console(width=160)
