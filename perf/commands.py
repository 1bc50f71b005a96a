"""The benchmarks' commands of `twokey-perf`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from perf.conditions import SINGLE_CAMERAS, Conditions
from perf.history import HISTORY, append, read
from perf.report import Figure, emit, show, show_rows
from shared.atomicfile import PUBLIC, write_atomic
from shared.errors import EXIT_OK, EXIT_UNEXPECTED, InputError

_CACHED = (
    "Both parties on a core each, CURVE on, active security; material in the page cache; "
    "faces are masked beforehand, without the cameras' journals."
)


@dataclass(frozen=True, slots=True)
class Output:
    """Where a result goes besides its table. record: a file of results that grows."""

    as_json: bool
    record: Path | None

    def hand_over(self, kind: str, result: dict[str, object]) -> int:
        """Writes the result where it was asked for; the command's exit code."""
        if self.record is not None:
            append(self.record, kind, result)
        if self.as_json:
            emit(result)
        return EXIT_UNEXPECTED if result["mismatches"] else EXIT_OK


def _conditions(**defaults: int) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The flags that all benchmarks have; the command gets one `Conditions`."""
    base = Conditions(**defaults)

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @functools.wraps(command)
        def with_conditions(*, as_json: bool, **given: Any) -> int:
            recorded = given.pop("record")
            flags = {name: given.pop(name) for name in Conditions.__slots__ if name in given}
            return command(Conditions(**flags), Output(as_json, recorded), **given)

        for option in reversed(
            (
                click.option("--faces", default=base.faces, type=click.IntRange(1)),
                click.option("--entries", default=base.entries, type=click.IntRange(1)),
                click.option("--dim", default=base.dim, type=click.IntRange(1, 4096)),
                click.option(
                    "--batch",
                    default=base.batch,
                    type=click.IntRange(1, 65_536),
                    help="Faces in a batch at most.",
                ),
                click.option(
                    "--faces-per-message",
                    default=base.faces_per_message,
                    type=click.IntRange(1, 1024),
                ),
                click.option("--threads", default=base.threads, type=click.IntRange(1, 256)),
                click.option("--runs", default=base.runs, type=click.IntRange(1, 100)),
                click.option("--json", "as_json", is_flag=True, help="One object, last line."),
                click.option(
                    "--record",
                    type=click.Path(path_type=Path),
                    help=f"Add the result to this file, e.g. {HISTORY}.",
                ),
            )
        ):
            with_conditions = option(with_conditions)
        return with_conditions

    return decorate


def _finish(
    kind: str,
    wanted: Conditions,
    figures: list[Figure],
    result: dict[str, object],
    output: Output,
    caption: str = "",
) -> int:
    show(_title(kind, wanted), figures, caption)
    return output.hand_over(kind, result)


def _progress(text: str) -> None:
    click.echo(text, err=True)


@click.command("online")
@_conditions()
@click.option("--cold", is_flag=True, help="Also with material that only the disk holds.")
@click.option(
    "--cameras",
    default=SINGLE_CAMERAS,
    show_default=True,
    type=click.IntRange(1, 5_000),
    help="Cameras that send one face a message.",
)
def online_command(wanted: Conditions, output: Output, cold: bool, cameras: int) -> int:
    """Faces per second: prepared before, one face a message, and prepare included."""
    from perf.online import online

    figures, result = online(wanted, _progress, cold=cold, cameras=cameras)
    return _finish("online", wanted, figures, result, output, _CACHED)


@click.command("latency")
@_conditions(faces=10_000, faces_per_message=1, runs=1)
def latency_command(wanted: Conditions, output: Output) -> int:
    """One face after the other: from the camera's send to both parties' event lines."""
    from perf.online import latency

    figures, result = latency(wanted, _progress)
    return _finish("latency", wanted, figures, result, output, _CACHED)


@click.command("dealer")
@_conditions()
def dealer_command(wanted: Conditions, output: Output) -> int:
    """Faces minted a second: on one core into memory, and on all cores to the disk."""
    from perf.dealer import dealer

    figures, result = dealer(wanted, _progress)
    caption = "Encrypted. Of each run to the disk some slots are matched and compared."
    return _finish("dealer", wanted, figures, result, output, caption)


@click.command("scale")
@_conditions(faces=4_000, runs=1)
def scale_command(wanted: Conditions, output: Output) -> int:
    """Faces a second against entries, coordinates, faces and threads."""
    from perf.scale import scale

    points, result = scale(wanted, _progress)
    headings = ["axis", "value", "faces", *(f.name.replace("_", " ") for f in points[0].figures())]
    rows = [
        (p.axis, f"{p.value:,}", f"{p.conditions.faces:,}", *(f.median for f in p.figures()))
        for p in points
    ]
    return _table("scale", wanted, headings, rows, result, output)


@click.command("network")
@_conditions(faces=6_000, runs=1)
def network_command(wanted: Conditions, output: Output) -> int:
    """The same figures with a long line between the parties, delayed and limited in a relay."""
    from perf.network import network

    found, result = network(wanted, _progress)
    headings = [name.replace("_", " ") for name in found[0].as_map()]
    rows = [tuple(far.as_map().values()) for far in found]
    return _table("network", wanted, headings, rows, result, output)


@click.command("thesis")
@_conditions(faces=4_000, runs=1)
def thesis_command(wanted: Conditions, output: Output) -> int:
    """Time and data against threads, as the thesis prints them."""
    from perf.thesis import thesis

    found, result = thesis(wanted, _progress)
    headings = [name.replace("_", " ") for name in found[0].as_map()]
    rows = [tuple(row.as_map().values()) for row in found]
    return _table("thesis", wanted, headings, rows, result, output)


@click.command("peers")
@_conditions(faces=100, runs=1)
def peers_command(wanted: Conditions, output: Output) -> int:
    """twokey beside TenSEAL, MPyC and plain numpy; their environments are made on demand."""
    from perf.peers.run import peers

    found, result = peers(wanted, _progress)
    headings = [name.replace("_", " ") for name in found[0].as_map()]
    rows = [tuple(row.as_map().values()) for row in found]
    return _table("peers", wanted, headings, rows, result, output)


@click.command("constant-time")
@click.option(
    "--measurements",
    default=100_000,
    show_default=True,
    type=click.IntRange(2_000, 10_000_000),
    help="Calls of each kernel.",
)
@click.option("--json", "as_json", is_flag=True, help="One object, last line.")
def constant_time_command(measurements: int, as_json: bool) -> int:
    """Each kernel on fixed and on random secrets; exit 1 if a time tells them apart."""
    from perf.constant_time import constant_time

    found, result = constant_time(measurements, _progress)
    rows = [(v.name, f"{v.nanoseconds:,.0f}", f"{v.t:+.2f}", v.text) for v in found]
    title = f"constant time: kernel {result['kernel']}, {measurements:,} calls each"
    show_rows(title, ("", "ns a call", "t", ""), rows)
    return Output(as_json, None).hand_over("constant-time", result)


@click.command("dashboard")
@click.option(
    "--history",
    default=HISTORY,
    show_default=True,
    type=click.Path(path_type=Path),
    help="Results that the benchmarks recorded.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The HTML page.")
@click.option("--live", multiple=True, help="http://host:port of a party's metrics; repeatable.")
@click.option(
    "--every",
    default=0.0,
    type=click.FloatRange(0.0),
    help="Seconds after which the page is written again, until Ctrl-C; 0: once.",
)
def dashboard_command(history: Path, out: Path, live: tuple[str, ...], every: float) -> None:
    """Write all recorded results, and running parties, as one page that needs no network."""
    from perf.dashboard import render
    from perf.live import scrape

    if not out.parent.is_dir():
        raise InputError(f"{out}: its folder is not there")
    while True:
        page = render(read(history), [scrape(address) for address in live], every)
        write_atomic(out, page.encode(), "dashboard", mode=PUBLIC, replace=True)
        click.echo(f"{out} is written", err=True)
        if not every:
            return
        time.sleep(every)


def _table(
    kind: str,
    wanted: Conditions,
    headings: list[str],
    rows: Sequence[Sequence[object]],
    result: dict[str, object],
    output: Output,
) -> int:
    show_rows(_title(kind, wanted), headings, rows)
    return output.hand_over(kind, result)


def _title(what: str, wanted: Conditions) -> str:
    return f"{what}: {wanted.faces:,} faces, {wanted.entries:,} entries, d = {wanted.dim}"


COMMANDS = (
    online_command,
    latency_command,
    dealer_command,
    scale_command,
    network_command,
    thesis_command,
    peers_command,
    constant_time_command,
    dashboard_command,
)
