"""A source's frames to both parties, window after window, until the source ends (protocol 3)."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from camera.agent import CameraAgent, PartyAddress
from camera.config import CameraConfig
from camera.journal import CameraJournal
from camera.pipeline import Captured
from camera.sets import OpenSet, SetStore
from shared.errors import MaterialExhausted, QueueFull, ResourceError, TwokeyError
from shared.params import Parameters
from shared.roles import RoleFolder
from shared.transport import Transport

log = logging.getLogger(__name__)
_STEP_MS = 10
_UPKEEP_SECONDS = 5.0
_WAITING_LINE_SECONDS = 60.0
_STOP_SECONDS = 3.0  # after a signal; what has no outcome by then stays stored


@dataclass(slots=True)
class Summary:
    """What became of a source's faces."""

    frames: int = 0
    faces: int = 0
    out_of_range: int = 0


class CameraRunner:
    """An open camera folder. Use as a context manager. Raises typed errors at opening.

    set: that of the window that runs.
    """

    def __init__(self, folder: Path, config: CameraConfig) -> None:
        role = RoleFolder(folder)
        self._config = config
        self._stopping = False
        self._identity = role.identity("camera")
        trusted = role.trusted()
        self._dealer = trusted.the("dealer")
        self._parties = (
            PartyAddress(config.p0_address, trusted.the("p0").curve_key),
            PartyAddress(config.p1_address, trusted.the("p1").curve_key),
        )
        self._former: Counter[str] = Counter()  # outcomes of windows that have ended
        self._next_upkeep = 0.0
        self._next_waiting_line = 0.0
        self._link = ExitStack()
        with ExitStack() as stack:
            self._journal = stack.enter_context(
                CameraJournal(role.state / "journal.sqlite", limit_bytes=config.queue_mib << 20)
            )
            self._store = SetStore(role.state, self._journal)
            self.set: OpenSet = self._current()
            stack.callback(self._close_link)
            self._agent = self._connect()
            self._open = stack.pop_all()

    def run(self, captured: Iterable[Captured]) -> Summary:
        """Sends every face; waits until both parties have acknowledged all, or for the deadline.

        When the window ends it goes on with the next one, if that has begun and its material is
        here. Raises ResourceError when outcomes are missing in the end (they stay stored and are
        sent again at the next run), MaterialExhausted when the slots are used up or there is no
        next window, what a party refused for good; and at once what the journal raises.
        """
        summary = Summary()
        self._until(lambda: self._agent.ready, "the parties do not answer")
        shortage: MaterialExhausted | None = None
        for one in captured:
            if self._stopping:
                log.warning("asked to stop after %d frames", summary.frames)
                break
            summary.frames += 1
            summary.out_of_range += len(one.dropped)
            try:
                self._submit(one, summary)
            except MaterialExhausted as error:  # first let what was sent come to its end
                shortage = error
                break
            self._step(0)
        self._until(lambda: self._agent.waiting == 0, "some faces have no outcome yet")
        if shortage is not None:
            raise shortage
        return summary

    def outcomes(self) -> dict[str, int]:
        """Faces by party and outcome, of the window that runs and of those before it."""
        now = self._agent.outcomes()
        return {what: faces + self._former[what] for what, faces in now.items()}

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
        for start in range(0, len(one.faces), size):
            part = one.faces[start : start + size]
            while not self._stopping:
                if _now_ms() >= self.set.window.end_ms:
                    self._change_window(summary)
                    continue
                try:
                    self._agent.submit([one.capture_ms] * len(part), part)
                except QueueFull as error:
                    self._tell_waiting(error)
                    self._step(_STEP_MS)
                else:
                    summary.faces += len(part)
                    break

    def _tell_waiting(self, error: QueueFull) -> None:
        """Now and then: a camera that is faster than the parties waits at every frame."""
        if time.monotonic() >= self._next_waiting_line:
            self._next_waiting_line = time.monotonic() + _WAITING_LINE_SECONDS
            log.warning("%s; frames wait", error)

    def _step(self, milliseconds: int) -> None:
        self._agent.step(milliseconds)
        if time.monotonic() >= self._next_upkeep:
            self._next_upkeep = time.monotonic() + _UPKEEP_SECONDS
            self._journal.maintain()

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
            self._step(_STEP_MS)

    # -- windows ---------------------------------------------------------------------------

    def _change_window(self, summary: Summary) -> None:
        """From a window that has ended to the one that runs now; frames wait meanwhile.

        Raises MaterialExhausted when there is none, or when its faces would be other integers.
        """
        former = self.set
        ended = f"{former.window} has ended, {summary.faces} faces were sent"
        found, error = self._look()
        if found is None:
            missing = error or "no material of the next window is here"
            raise MaterialExhausted(f"{ended}; {missing}")
        if _of_a_face(found.params) != _of_a_face(former.params):
            raise MaterialExhausted(f"{ended}; the next window has other parameters of a face")
        try:
            self._until(lambda: self._agent.waiting == 0, "some faces have no outcome yet")
        except ResourceError as problem:  # what the parties did not take in is burned there
            log.warning("%s: %s", former.window, problem)
        self._former.update(self._agent.outcomes())
        self._close_link()
        self._store.forget_ended(_now_ms())
        self.set = found
        self._agent = self._connect()
        self._until(lambda: self._agent.ready, "the parties do not answer")
        log.info("%s has ended, it goes on with %s", former.window, found.window)

    def _current(self) -> OpenSet:
        """The set of the window that runs now, for a process that begins."""
        self._store.forget_ended(_now_ms())
        found, error = self._look()
        if found is not None:
            return found
        if error is not None:
            raise error
        raise MaterialExhausted(
            f"camera {self._identity.name}: no material of a window that runs now is in "
            f"{self._config.material}"
        )

    def _look(self) -> tuple[OpenSet | None, TwokeyError | None]:
        """Takes new material over; the set of now, and the first file's error if there was one."""
        config, now_ms = self._config, _now_ms()
        name = self._identity.name
        error = self._store.adopt_all(config.material, self._dealer, name, config.model, now_ms)
        return self._store.current(now_ms), error

    def _connect(self) -> CameraAgent:
        transport = self._link.enter_context(Transport(self._identity.curve_pair()))
        agent = CameraAgent(
            self.set,
            self._store,
            self._journal,
            transport,
            self._parties,
            resend_seconds=self._config.resend_seconds,
            faces_per_message=self._config.faces_per_message,
        )
        self._link.callback(agent.close)
        return agent

    def _close_link(self) -> None:
        """Overwrites the masks of the set in use, closes its sockets."""
        self._link.close()


def _of_a_face(params: Parameters) -> tuple[object, ...]:
    """What decides on the integers of a face."""
    return (params.model, params.dim, params.fraction_bits, params.face_bound)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
