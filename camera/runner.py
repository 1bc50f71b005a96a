"""A source's frames through the pipeline to both parties, until the source ends (protocol 3)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from camera.agent import CameraAgent, PartyAddress
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.pipeline import Captured
from camera.sets import OpenSet, SetStore
from shared.errors import MaterialExhausted, QueueFull, ResourceError
from shared.keys import PublicIdentity
from shared.roles import RoleFolder
from shared.transport import Transport

log = logging.getLogger(__name__)
_STEP_MS = 10
_STOP_SECONDS = 3.0  # after a signal; what has no outcome by then stays stored


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
        self._stopping = False
        identity = role.identity("camera")
        trusted = role.trusted()
        dealer = trusted.the("dealer")
        parties = (
            PartyAddress(config.p0_address, trusted.the("p0").curve_key),
            PartyAddress(config.p1_address, trusted.the("p1").curve_key),
        )
        with ExitStack() as stack:
            self._journal = stack.enter_context(
                CameraJournal(role.state / "journal.sqlite", limit_bytes=config.queue_mib << 20)
            )
            store = SetStore(role.state, self._journal)
            store.forget_ended(_now_ms())
            self.set: OpenSet = _current(store, dealer, identity.name, config)
            self._transport = stack.enter_context(Transport(identity.curve_pair()))
            self._agent = CameraAgent(
                self.set,
                store,
                self._journal,
                self._transport,
                parties,
                resend_seconds=config.resend_seconds,
                faces_per_message=config.faces_per_message,
            )
            stack.callback(self._agent.close)
            self._open = stack.pop_all()

    def run(self, captured: Iterable[Captured]) -> Summary:
        """Sends every face; waits until both parties have acknowledged all, or for the deadline.

        Raises ResourceError when outcomes are missing in the end (they stay stored and are sent
        again at the next run) or the window ends meanwhile, MaterialExhausted when the slots are
        used up, and what a party refused for good.
        """
        summary = Summary()
        self._until(lambda: self._agent.ready, "the parties do not answer")
        shortage: ResourceError | None = None
        for one in captured:
            if self._stopping:
                log.warning("asked to stop after %d frames", summary.frames)
                break
            summary.frames += 1
            summary.out_of_range += len(one.dropped)
            try:
                self._submit(one, summary)
            except ResourceError as error:  # first let what was sent come to its end
                shortage = error
                break
            self._agent.step(0)
        self._until(lambda: self._agent.waiting == 0, "some faces have no outcome yet")
        if shortage is not None:
            raise shortage
        return summary

    def outcomes(self) -> dict[str, int]:
        """Faces by party and outcome since the set was taken over."""
        return self._agent.outcomes()

    def stop(self) -> None:
        """Asks `run` to end; what is not acknowledged stays stored. Safe in a signal handler."""
        self._stopping = True

    def close(self) -> None:
        """Overwrites masks in memory, closes sockets and journal."""
        self._open.close()

    def __enter__(self) -> CameraRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, one: Captured, summary: Summary) -> None:
        """Hands a frame's faces over, as soon as there is room for them."""
        size = self._config.faces_per_message
        told = False
        for start in range(0, len(one.faces), size):
            part = one.faces[start : start + size]
            while not self._stopping:
                if _now_ms() >= self.set.window.end_ms:
                    raise ResourceError(
                        f"{self.set.window} has ended, {summary.faces} faces were sent"
                    )
                try:
                    self._agent.submit([one.capture_ms] * len(part), part)
                except QueueFull as error:
                    if not told:
                        log.warning("%s; frames wait", error)
                        told = True
                    self._agent.step(_STEP_MS)
                else:
                    summary.faces += len(part)
                    break

    def _until(self, reached: Callable[[], bool], what: str) -> None:
        begun = time.monotonic()
        while not reached():
            waited = time.monotonic() - begun
            limit = self._config.drain_seconds
            if waited > (min(limit, _STOP_SECONDS) if self._stopping else limit):
                details = "; ".join(self._agent.refusals())
                raise ResourceError(
                    f"{what} after {waited:.0f} s" + (f" ({details})" if details else "")
                )
            self._agent.step(_STEP_MS)


def _current(store: SetStore, dealer: PublicIdentity, camera: str, config: CameraConfig) -> OpenSet:
    """Takes new material over; the set of the window that runs now."""
    now_ms = _now_ms()
    error = store.adopt_all(config.material, dealer, camera, config.model, now_ms)
    found = store.current(now_ms)
    if found is not None:
        return found
    if error is not None:
        raise error
    raise MaterialExhausted(
        f"camera {camera}: no material of a window that runs now is in {config.material}"
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
