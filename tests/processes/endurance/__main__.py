"""`python -m tests.processes.endurance`: an hour of operation, or ten minutes flat out."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import click
import orjson

from shared.atomicfile import PUBLIC, write_atomic
from shared.cli import run
from shared.errors import EXIT_OK, EXIT_RESOURCE, EXIT_UNEXPECTED, DiskFull
from tests.processes.endurance.lines import lines
from tests.processes.endurance.plan import Plan
from tests.processes.endurance.run import endure

_HOUR = Plan()
_NEVER = 1e9
# One window for all of it: minting the next one would take the cores that are to be kept busy.
_SPARE_SECONDS = 100.0
_FLAT_OUT = replace(
    _HOUR,
    rate=0.0,
    slots_rate=12_000.0,
    frame=128,
    places=4,
    watchlist_seconds=_NEVER,
    restart_seconds=_NEVER,
    queue_mib=2,
)
_WINDOWS_AT_ONCE = 2


@click.command("endurance")
@click.option("--minutes", default=60.0, show_default=True, help="How long faces come.")
@click.option("--rate", type=float, help="Faces a second, all cameras together.  [default: 300]")
@click.option("--flat-out", is_flag=True, help="As many faces as it goes; no restarts.")
@click.option("--places", type=int, help="Entry places of a slot.  [default: 50; flat out 4]")
@click.option("--window-seconds", type=float, help="A window's length.  [default: 600; all]")
@click.option("--watchlist-seconds", type=float, help="Between changes.  [default: 60; none]")
@click.option("--restart-seconds", type=float, help="Between restarts of a party.  [default: 300]")
@click.option("--slots-rate", type=float, help="Faces a second that slots are minted for.")
@click.option("--folder", type=click.Path(path_type=Path), help="Empty; kept. [default: temporary]")
@click.option("--report", type=click.Path(path_type=Path), help="The JSON report goes there.")
def endurance(
    minutes: float,
    rate: float | None,
    flat_out: bool,
    places: int | None,
    window_seconds: float | None,
    watchlist_seconds: float | None,
    restart_seconds: float | None,
    slots_rate: float | None,
    folder: Path | None,
    report: Path | None,
) -> int:
    """Run all roles for a while, change all that changes in operation, compare every bit."""
    given = {
        "rate": rate,
        "places": places,
        "window_seconds": window_seconds or (60 * minutes + _SPARE_SECONDS if flat_out else None),
        "watchlist_seconds": watchlist_seconds,
        "restart_seconds": restart_seconds,
        "slots_rate": slots_rate or (rate and 1.1 * rate),
    }
    plan = replace(
        _FLAT_OUT if flat_out else _HOUR,
        minutes=minutes,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    root = folder or Path(tempfile.mkdtemp(prefix="twokey-endurance-"))
    root.mkdir(parents=True, exist_ok=True)
    windows = min(_WINDOWS_AT_ONCE, plan.windows)
    needed, free = windows * plan.window_bytes(), shutil.disk_usage(root).free
    if needed > free:
        raise DiskFull(f"{windows} windows need {needed:,} bytes, {free:,} are free")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_RESOURCE))  # and end all roles
    say(f"{plan.windows} windows of {needed / _WINDOWS_AT_ONCE / 1e9:.1f} GB below {root}")
    try:
        found, samples = endure(root, plan, say)
    finally:
        if folder is None:
            shutil.rmtree(root)
    for line in lines(found):
        say(line)
    if report is not None:
        content = {
            **found,
            "samples": {
                who: [one._asdict() for one in series] for who, series in samples.processes.items()
            },
            "disk": samples.disk,
        }
        write_atomic(report, orjson.dumps(content), "report", mode=PUBLIC, replace=True)
    return EXIT_OK if found["sound"] else EXIT_UNEXPECTED


def say(text: str) -> None:
    """A line with the time of day."""
    click.echo(f"{time.strftime('%H:%M:%S')} {text}")


if __name__ == "__main__":
    run(endurance, holds_secrets=False)
