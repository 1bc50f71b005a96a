"""The roles' programs, which die at a named point and record what they send.

`python -m tests.processes.child party CONFIG` is `twokey-party run`; `... dealer CONFIG WINDOW` is
`twokey-dealer mint`; `... camera CONFIG FACES SIZE PAUSE` is a camera whose frames are rows of a
.npy file instead of pictures, row = slot. All are the real programs, with calls added around some
of their methods:

TWOKEY_STOP_AT=POINT[:N]: SIGKILL to itself at the N-th time that this point is reached.
TWOKEY_RECORD=FILE: every message is appended before it is sent, as msgpack [to, frames].
TWOKEY_LOG_LEVEL=LEVEL: of the log records; warning when not given.
TWOKEY_FORGE=MESSAGE: a bit of the last frame of each such message to the peer is flipped.
TWOKEY_CLOCK_AHEAD=SECONDS: the party's clock is this much ahead of the machine's.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgpack
import numpy as np
from numpy.typing import NDArray

from camera import sets as camera_sets
from camera.agent import CameraAgent
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.masking import Masker
from camera.pipeline import Captured
from camera.ratchetfile import RatchetFile
from camera.runner import CameraRunner
from dealer.cli import program as dealer_program
from dealer.job import MintJob
from dealer.setfiles import SetFiles
from party import node
from party.cameralink import CameraLink
from party.cli import cli as party_cli
from party.events import EventStore
from party.journal import PartyJournal
from party.linefile import LineFile
from party.peertalk import PeerTalk
from party.windowstate import Moment
from shared import config, logs
from shared.cli import run
from shared.materialwriter import MaterialWriter
from shared.messages import CAMERA_CODEC, PARTY_CODEC

STOP_AT = "TWOKEY_STOP_AT"
RECORD = "TWOKEY_RECORD"
FORGE = "TWOKEY_FORGE"
LEVEL = "TWOKEY_LOG_LEVEL"
CLOCK_AHEAD = "TWOKEY_CLOCK_AHEAD"
ENOUGH = "enough"  # a file of this name beside the faces ends them
_LEAVES = 0.03  # seconds for what was sent to leave the process before it dies

PARTY_POINTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (
        PartyJournal,
        (
            "register_sets",
            "remember_peer",
            "raise_high_water",
            "bind_places",
            "mark_in_prepare",
            "mark_prepared",
            "reserve_reveal",
            "mark_revealed",
            "record_expectation",
            "record_opening",
            "finish",
            "resolve",
            "fail_check",
            "burn",
            "count",
            "sync",
        ),
    ),
    (
        EventStore,
        ("record", "record_burned", "record_unresolved", "announce", "sync"),
    ),
    (LineFile, ("append",)),
)
CAMERA_POINTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (CameraJournal, ("adopt_set", "append", "acknowledge")),
    (RatchetFile, ("advance",)),
)
MINT_POINTS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (MintJob, ("plan", "_remove", "_begin")),
    (MaterialWriter, ("write_chunk", "finish", "commit")),
    (SetFiles, ("commit",)),
)


class Stop:
    """Kills this process at the point that the environment names."""

    def __init__(self, wish: str) -> None:
        self._point, _, count = wish.partition(":")
        self._left = int(count or 1)

    def reached(self, point: str) -> None:
        """A point of the program; it ends here if this is the one."""
        if point != self._point:
            return
        self._left -= 1
        if self._left == 0:
            if point.startswith("after send"):
                time.sleep(_LEAVES)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, method: str, name: str) -> None:
        """Makes points `before NAME` and `after NAME` of a method or function."""
        inner = getattr(owner, method)

        @functools.wraps(inner)
        def outer(*arguments: Any, **named: Any) -> Any:
            self.reached(f"before {name}")
            result = inner(*arguments, **named)
            self.reached(f"after {name}")
            return result

        setattr(owner, method, outer)

    def around_sending(
        self, owner: Any, method: str, describe: Callable[..., tuple[str, str, list[bytes]]]
    ) -> None:
        """The same for what sends a message; it is recorded between the first point and it."""
        inner = getattr(owner, method)
        path = os.environ.get(RECORD)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if path else -1

        @functools.wraps(inner)
        def outer(*arguments: Any, **named: Any) -> Any:
            to, kind, frames = describe(*arguments, **named)
            self.reached(f"before send {kind}")
            if handle >= 0:
                os.write(handle, msgpack.packb([to, frames]))
            result = inner(*arguments, **named)
            self.reached(f"after send {kind}")
            return result

        setattr(owner, method, outer)


def party(stop: Stop, config_path: str) -> object:
    """`twokey-party run` with the points of a party."""
    for owner, methods in PARTY_POINTS:
        for method in methods:
            stop.around(owner, method, f"{owner.__name__}.{method}")

    def to_peer(_talk: PeerTalk, message: Any) -> tuple[str, str, list[bytes]]:
        frames = [bytes(frame) for frame in PARTY_CODEC.encode(message)]
        return "peer", type(message).__name__, frames

    def to_camera(_link: CameraLink, name: str, message: Any) -> tuple[str, str, list[bytes]]:
        frames = [bytes(frame) for frame in CAMERA_CODEC.encode(message)]
        return name, type(message).__name__, frames

    ahead = round(1000 * float(os.environ.get(CLOCK_AHEAD, "0")))
    if ahead:
        true_now = node.now
        node.now = lambda: Moment(true_now().seconds, true_now().wall_ms + ahead)
    if forged := os.environ.get(FORGE):
        _forge(forged)
    stop.around_sending(PeerTalk, "_send", to_peer)
    stop.around_sending(CameraLink, "send", to_camera)
    level = os.environ.get(LEVEL, "warning")
    return party_cli(["--log-level", level, "run", "-c", config_path], standalone_mode=False)


def _forge(kind: str) -> None:
    """The party lies in every message of this kind."""
    honest = PARTY_CODEC.encode

    def encode(message: Any) -> list[Any]:
        frames = honest(message)
        if type(message).__name__ == kind:
            last = bytearray(frames[-1])
            last[0] ^= 1
            frames[-1] = bytes(last)
        return frames

    PARTY_CODEC.encode = encode  # type: ignore[method-assign]


def camera(stop: Stop, config_path: str, faces_path: str, size: int, pause: float) -> None:
    """A camera that sends the rows of a file, from the first whose slot was never used."""
    for owner, methods in CAMERA_POINTS:
        for method in methods:
            stop.around(owner, method, f"{owner.__name__}.{method}")
    stop.around(camera_sets, "destroy_window_key", "destroy_window_key")

    def to_party(
        _agent: CameraAgent, link: Any, _number: int, frames: list[Any], _now: float
    ) -> tuple[str, str, list[bytes]]:
        return f"p{link.party}", f"Faces to P{link.party}", [bytes(frame) for frame in frames]

    stop.around_sending(CameraAgent, "_send", to_party)
    logs.configure(os.environ.get(LEVEL, "warning"))
    faces = np.load(faces_path, allow_pickle=False)
    inner = Masker.mask

    def mask(masker: Masker, first: int, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The rows of these slots: burned ones may have been left out since the capture."""
        return inner(masker, first, faces[first : first + len(rows)])

    Masker.mask = mask  # type: ignore[method-assign, assignment]
    enough = Path(faces_path).with_name(ENOUGH)
    settings = config.load(CameraConfig, Path(config_path))
    with CameraRunner(Path(config_path).parent, settings) as runner:

        def captured() -> Iterator[Captured]:
            # How many faces there are; which ones they are is decided with their slots.
            set_id = runner.set.name.set_id()
            while (first := runner._journal.next_slot(set_id)) < len(faces):
                if enough.exists():
                    return
                yield Captured(time.time_ns() // 1_000_000, faces[first : first + size], ())
                time.sleep(pause)

        runner.run(captured())


def dealer(stop: Stop, config_path: str, window: str) -> object:
    """`twokey-dealer mint` with its points."""
    for owner, methods in MINT_POINTS:
        for method in methods:
            stop.around(owner, method, f"{owner.__name__}.{method}")
    arguments = ["mint", "-c", config_path, "--window", window]
    return dealer_program(arguments, standalone_mode=False)


@click.command("child", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def child(arguments: tuple[str, ...]) -> object:
    """Runs what the arguments name."""
    stop = Stop(os.environ.get(STOP_AT, ""))
    match arguments:
        case ("party", config_path):
            return party(stop, config_path)
        case ("dealer", config_path, window):
            return dealer(stop, config_path, window)
        case ("camera", config_path, faces, size, pause):
            camera(stop, config_path, faces, int(size), float(pause))
            return None
        case _:
            raise click.UsageError(f"unknown arguments: {arguments}")


if __name__ == "__main__":
    run(child)
