"""The windows that a party has open: when they open, take in further material, and end."""

from __future__ import annotations

import logging

from party import audit
from party.config import PartyConfig
from party.health import lacks_successor
from party.latency import LatencyCounts
from party.materialfolder import FoundFile, MaterialFolder, remove
from party.session import WindowSession
from party.watchedlist import WatchedList
from party.windows import Opener, check_threshold
from party.windowstate import Moment
from shared.errors import TwokeyError, WindowClosed
from shared.windowkeys import Window, destroy_ended_window_keys

log = logging.getLogger(__name__)

_KEY_CHECK_SECONDS = 60.0


class OpenWindows:
    """The sessions of the windows whose material is here and whose time has come.

    sessions: by window. latency: of faces whose windows have ended, or were opened anew.
    """

    def __init__(self, config: PartyConfig, opener: Opener, people: WatchedList) -> None:
        self.sessions: dict[str, WindowSession] = {}
        self.latency = LatencyCounts()
        self._config = config
        self._opener = opener
        self._events = opener.events
        self._people = people
        self._material = MaterialFolder(config.material)
        self._files: dict[str, list[FoundFile]] = {}
        self._told_missing: set[str] = set()
        self._next_key_check = 0.0
        # How long after a window's end its last batches may still be confirmed.
        self._grace_ms = opener.limits.grace * 1000

    def close(self) -> None:
        """Closes the material's files; what is prepared stays."""
        for session in self.sessions.values():
            session.close_material()

    def open_due(self, moment: Moment) -> TwokeyError | None:
        """Opens windows; what stands in the way of having any."""
        there, problem = self._material.scan()
        for window, files in there.items():
            former = self.sessions.get(window)
            if former is not None and (former.closed is not None or former.holds(files)):
                continue
            usable = [f for f in files if not self._removed(f, moment)]
            if not usable:
                continue
            start = usable[0].header.window.start_ms
            if start - moment.wall_ms > self._config.open_ahead_seconds * 1000:
                continue
            if former is not None and not self._set_aside(former):
                continue
            problem = self._open_window(window, usable, moment) or problem
        return None if self.sessions else problem

    def _open_window(
        self, window: str, usable: list[FoundFile], moment: Moment
    ) -> TwokeyError | None:
        """Opens a window, or opens it anew with further cameras' material; what was in the way."""
        former = self.sessions.get(window)
        try:
            check_threshold(self._config.threshold, usable[0].header.params)
            entries = self._people.entries(usable[0].header.params)
            session = self._opener.open(usable, entries, moment)
        except TwokeyError as error:
            if former is not None:  # it goes on with what it has
                known = {file.path for file in self._files[window]}
                usable = [file for file in usable if file.path not in known]
                former.draining = False
            self._material.refuse(usable)
            if isinstance(error, WindowClosed):  # by a process that did not come to this
                self._opener.end(window, usable)
            log.error("window %s: %s", window, error)
            self._events.announce("window refused", f"{window}: {error}")
            return error
        if former is not None:
            former.suspend(moment)
            self.latency.include(former.latency)
            former.close_material()
        self.sessions[window] = session
        self._files[window] = usable
        digest = session.params.digest().hex()
        self._events.note(audit.WINDOW, f"window {window}: open, parameters {digest}")
        log.info(
            "window %s is open: %d cameras, %d slots",
            window,
            len(session.sets),
            sum(held.slots for held in session.sets.values()),
        )
        return None

    def _set_aside(self, session: WindowSession) -> bool:
        """Further cameras' material came: nothing new is begun; whether nothing is in flight."""
        session.draining = True
        return not session.busy and not session.expects_more

    def end_due(self, moment: Moment) -> None:
        """Destroys keys and material of windows that have ended or were closed."""
        grace = self._grace_ms
        if moment.seconds >= self._next_key_check:
            self._next_key_check = moment.seconds + _KEY_CHECK_SECONDS
            try:
                for ended in destroy_ended_window_keys(
                    self._opener.state, round(moment.wall_ms - grace)
                ):
                    log.info("window %s has ended; its key is destroyed", ended)
            except TwokeyError as error:
                log.error("%s", error)
        for window, session in list(self.sessions.items()):
            if session.closed is not None:
                self._opener.end(window, self._files.pop(window, []))
            if moment.wall_ms <= session.spec.end_ms + grace:
                continue
            session.close("the window has ended", moment)
            self._opener.end(window, self._files.pop(window, []))
            self._opener.journal.forget_window(window)
            self.latency.include(session.latency)
            del self.sessions[window]
            log.info("window %s has ended; its key and material are destroyed", window)

    def announce_missing(self, moment: Moment) -> None:
        """Once for each window that is to end while nothing is here to go on with."""
        ahead = self._config.announce_missing_seconds * 1000
        there = self._material.windows()
        for name, session in self.sessions.items():
            spec = session.spec
            if name in self._told_missing or moment.wall_ms < spec.end_ms - ahead:
                continue
            text = lacks_successor(Window(name, spec.start_ms, spec.end_ms), there)
            if text:
                self._told_missing.add(name)
                log.warning("%s", text)
                self._events.announce("material missing", text)

    def _removed(self, found: FoundFile, moment: Moment) -> bool:
        """Removes a file whose window ended while this process did not run; nothing else.

        Nobody has verified its header: what that says about a window decides about this file only.
        """
        if found.header.window.end_ms + self._grace_ms >= moment.wall_ms:
            return False
        if remove([found.path]):
            log.info("%s: its window has ended, it is removed", found.path)
        else:
            self._material.refuse([found])
        return True
