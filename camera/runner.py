"""A source's frames through the pipeline to both parties, until the source ends (protocol 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from camera.agent import CameraAgent, PartyAddress
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.pipeline import Captured
from camera.sets import OpenSet, SetStore
from shared.errors import MaterialExhausted, QueueFull, ResourceError
from shared.roles import RoleFolder
from shared.transport import Transport

log = logging.getLogger(__name__)
_STEP_MS = 10


@dataclass(slots=True)
class Summary:
    """What became of a source's faces."""

    frames: int = 0
    faces: int = 0
    out_of_range: int = 0


class CameraRunner:
    """An open camera folder. Use as a context manager. Raises typed errors at opening."""

    def __init__(self, folder: Path, config: CameraConfig) -> None:
        role = RoleFolder(folder)
        self._config = config
        identity = role.identity("camera")
        trusted = role.trusted()
        parties = (
            PartyAddress(config.p0_address, trusted.the("p0").curve_key),
            PartyAddress(config.p1_address, trusted.the("p1").curve_key),
        )
        self._journal = CameraJournal(
            role.state / "journal.sqlite", limit_bytes=config.queue_mib << 20
        )
        try:
            self._store = SetStore(role.state, self._journal)
            now_ms = time.time_ns() // 1_000_000
            self._store.forget_ended(now_ms)
            self._store.adopt_all(
                config.material, trusted.the("dealer"), identity.name, config.model
            )
            found = self._store.current(now_ms)
            if found is None:
                raise MaterialExhausted(
                    f"camera {identity.name}: no material of a window that runs now is in "
                    f"{config.material}"
                )
            self.set: OpenSet = found
            self._transport = Transport(identity.curve_pair())
        except BaseException:
            self._journal.close()
            raise
        self._agent = CameraAgent(
            self.set,
            self._store,
            self._journal,
            self._transport,
            parties,
            resend_seconds=config.resend_seconds,
            faces_per_message=config.faces_per_message,
        )
        self._stopping = False

    def run(self, captured: Iterable[Captured]) -> Summary:
        """Sends every face; waits until both parties have acknowledged all, or for the deadline.

        Raises ResourceError when outcomes are missing in the end (they stay stored and are sent
        again at the next run), MaterialExhausted when the slots are used up.
        """
        summary = Summary()
        self._until(lambda: self._agent.ready, "the parties do not answer")
        for one in captured:
            if self._stopping:
                break
            summary.frames += 1
            summary.out_of_range += len(one.dropped)
            summary.faces += len(one.faces)
            if len(one.faces):
                self._submit(one)
            self._agent.step(0)
        self._until(lambda: self._agent.waiting == 0, "some faces have no outcome yet")
        return summary

    def outcomes(self) -> dict[str, int]:
        """Faces by party and outcome since the set was taken over."""
        return self._agent.outcomes()

    def stop(self) -> None:
        """Asks `run` to end; what is not acknowledged stays stored. Safe in a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Overwrites masks in memory, closes sockets and journal."""
        self._agent.close()
        self._transport.close()
        self._journal.close()

    def __enter__(self) -> CameraRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, one: Captured) -> None:
        times = [one.capture_ms] * len(one.faces)
        done = 0
        while done < len(one.faces):
            part = slice(done, done + self._config.faces_per_message)
            try:
                self._agent.submit(times[part], one.faces[part])
            except QueueFull:
                self._agent.step(_STEP_MS)
                continue
            done += len(one.faces[part])

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._config.drain_seconds
        while not reached():
            if self._stopping or time.monotonic() > deadline:
                details = "; ".join(self._agent.refusals())
                raise ResourceError(
                    f"{what} after {self._config.drain_seconds:.0f} s"
                    + (f" ({details})" if details else "")
                )
            self._agent.step(_STEP_MS)
