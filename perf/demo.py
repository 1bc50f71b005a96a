"""`./dev demo`: a first window, end to end, on a video made on the spot; `python -m perf.demo`."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click
import orjson
from rich.console import Console
from rich.table import Table

from party.statefiles import LINES_FILE
from perf import demo_footage
from perf.demo_outcome import Outcome, Row, compare, read_records
from perf.demo_stage import CAMERA, WATCHED, Stage
from perf.demo_traces import Trace, embedding_at, read_trace
from shared import logs
from shared.cli import run
from shared.errors import EXIT_OK, EXIT_UNEXPECTED

_SPARE_SLOTS = 16
_STRANGER_MS = 0  # a frame with passers-by only
_WIDTH = 110  # where the output is no terminal


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it. material: bytes by recipient. camera: its summary. traces: P0's, P1's."""

    outcome: Outcome
    material: dict[str, int]
    camera: dict[str, int]
    traces: tuple[Trace, Trace]

    def deviations(self) -> list[str]:
        """One line for everything that is not as expected."""
        found = list(self.outcome.deviations)
        for party, trace in enumerate(self.traces):
            found += [f"P{party}: {line}" for line in trace.deviations()]
        if self.traces[0].masked != self.traces[1].masked:
            found.append("the parties got different bytes for slot 0")
        return found


@click.command("demo")
def demo() -> int:
    """Play a first window, end to end. Exit 0 when exactly the expected faces are matched."""
    logs.configure("warning")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder goes as well
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="twokey-demo-") as folder:
        played = play(Path(folder), started)
    deviations = played.deviations()
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(_faces_table(played.outcome))
    console.print(_roles_table(played))
    for line in deviations:
        console.print(f"not as expected: {line}")
    report = {
        "faces": played.outcome.faces,
        "matches": played.outcome.matches,
        "unresolved": played.outcome.unresolved,
        "seconds": round(time.monotonic() - started, 1),
    }
    click.echo(orjson.dumps(report).decode())
    return EXIT_UNEXPECTED if deviations else EXIT_OK


def main() -> NoReturn:
    """Entry point of `python -m perf.demo`."""
    run(demo, holds_secrets=False)


def play(root: Path, started: float) -> Played:
    """Everything from the first key to the last event, in an empty folder. Raises typed errors.

    started: on the monotonic clock, for the progress on standard error.
    """
    stage = Stage(root, time.time_ns() // 10**9 * 1000)
    with _step("a video is made from one person's portrait and a crowd", started):
        demo_footage.write_portrait(stage.portrait)
        expected = demo_footage.write_video(stage.video)
    with _step("init and trust: a dealer, two parties, a camera", started):
        stage.init()
        stage.trust()
    with _step(f"window keys are published; both parties enrol {WATCHED}", started):
        stage.publish_window_keys()
        with ThreadPoolExecutor(1) as pool:
            stranger = pool.submit(embedding_at, stage.video, _STRANGER_MS)
            stage.enroll()
    slots = sum(frame.faces for frame in expected) + _SPARE_SLOTS
    with _step(f"the dealer mints {slots} slots and hands the files over", started):
        material = stage.mint(slots)
    with (
        _step("the parties prepare, the camera films, the parties match", started),
        stage.parties(),
    ):
        camera = stage.film()
    told = (
        read_records((stage.state("p0") / LINES_FILE).read_bytes().splitlines()),
        read_records((stage.state("p1") / LINES_FILE).read_bytes().splitlines()),
    )
    outcome = compare(expected, told, stage.start_ms, WATCHED)
    face = stranger.result()
    traces = (read_trace(stage, "p0", face), read_trace(stage, "p1", face))
    return Played(outcome, material, camera, traces)


@contextmanager
def _step(text: str, started: float) -> Iterator[None]:
    click.echo(f"{time.monotonic() - started:5.1f} s  {text}", err=True)
    yield


def _faces_table(outcome: Outcome) -> Table:
    table = Table(title="What the parties found", title_justify="left")
    for heading, justify in (("time in video", "right"), ("faces", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("match", "entry", "verified by both", "what the video shows"):
        table.add_column(heading)
    for row in outcome.rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> tuple[str, ...]:
    moment = f"{row.time_ms / 1000:.2f} s"
    if not row.faces:
        return (moment, "0", "", "", "", "nobody")
    verified = min(row.verified_by)
    agreed = "yes" if verified == row.faces else f"{verified} of {row.faces}"
    shows = f"{WATCHED}, {row.shows}" if row.shows else "passers-by"
    match = "match" if row.entries else "no match"
    return (moment, str(row.faces), match, ", ".join(row.entries), agreed, shows)


def _roles_table(played: Played) -> Table:
    first, second = played.traces
    faces = played.outcome.faces
    table = Table(title="What each role could see", title_justify="left", show_lines=True)
    table.add_column("role")
    table.add_column("what", overflow="fold")
    table.add_row(
        "dealer",
        f"It made {_size(sum(played.material.values()))} of randomness and did not run any more "
        "when the first face came.",
    )
    table.add_row(
        CAMERA,
        f"{played.camera['frames']} frames, {faces} faces and their embeddings, each for a moment. "
        "No watchlist, no result: both parties told it that they are done with a face, not what "
        "they found.",
    )
    for name, trace in (("P0", first), ("P1", second)):
        table.add_row(
            name,
            f"The first face as it came begins {trace.masked[:16]} {trace.masked[16:]}: masked, "
            f"the same bytes for both.\nAll that it keeps of the first match: {trace.record}\n"
            f"Searched {trace.files} files, {_size(trace.size)}, log included: the embedding of a "
            f"passer-by is in {_places(trace.stranger_in)}, that of the entry is in "
            f"{_places(trace.watched_in)}.",
        )
    messages = {
        phase: f"{first.messages[phase] + second.messages[phase]} messages, "
        f"{_size(first.sent[phase] + second.sent[phase])}"
        for phase in ("prepare", "online")
    }
    table.add_row(
        "between them",
        f"To prepare {messages['prepare']}; for {faces} faces {messages['online']}. Opened: one "
        "bit for each face and entry, no distance.",
    )
    return table


def _places(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "none of them"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 10**6 else f"{count / 1e3:.1f} kB"


if __name__ == "__main__":
    main()
