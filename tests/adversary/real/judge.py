"""What a campaign left behind, read window by window from the honest party's own files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgpack
import numpy as np

from party.audit import check_chain
from party.eventlines import Status
from party.events import Announcement, EventStore, FaceEvent
from party.journal import Count, PartyJournal, SlotState
from party.statefiles import EVENTS_FILE, LINES_FILE
from perf.deployment import PARTIES
from shared.errors import PeerVanished
from shared.messages import PARTY_CODEC, PartyMessage, Refused, Run, unpack_runs
from tests.adversary.real.campaign import Campaign
from tests.adversary.real.ground import DAN, PEOPLE
from tests.adversary.real.wire import Control
from tests.processes.checker import shown_twice
from tests.support.auditlogs import read_state

TOLD: Final = ("omission", "watchlist", "clock", "mismatch", "restored", "refused", "burned")
_STOPS: Final = "this process stops"  # at the end of a campaign


@dataclass
class Window:
    """One window of the honest party after a campaign."""

    name: str
    closed: str | None = None
    failures: int = 0
    outages: int = 0
    struck: bool = False
    runs: tuple[Run, ...] = ()
    sessions: set[bytes] = field(default_factory=set)
    said: list[PartyMessage] = field(default_factory=list)  # by the honest party
    since: int = 0  # how many of them before the attack
    faces: dict[tuple[str, int], FaceEvent] = field(default_factory=dict)
    announced: list[Announcement] = field(default_factory=list)
    states: dict[bytes, list[SlotState]] = field(default_factory=dict)

    @property
    def refused(self) -> list[Refused]:
        """What the honest party refused since the attack; not its word that it stops."""
        return [m for m in self.said[self.since :] if isinstance(m, Refused) and m.detail != _STOPS]

    @property
    def errors(self) -> list[str]:
        """The names of the errors with which the honest party refused something, in order."""
        return [m.error for m in self.refused]

    @property
    def reasons(self) -> list[str]:
        """What it said of that, to the other party and to its operators."""
        return [m.detail for m in self.refused] + [a.detail for a in self.announced]

    @property
    def told(self) -> set[str]:
        """The kinds of what it announced."""
        return {a.kind for a in self.announced}

    def outcome(self) -> str:
        """How the attack ended: a typed error, what was announced, or nothing."""
        if self.closed is not None:
            name, _, _ = self.closed.partition(":")
            return name if name.isidentifier() else self.closed
        if self.errors:
            return self.errors[0]
        if "outage" in self.told:
            return "PeerVanished"
        for kind in TOLD:
            if kind in self.told:
                return f"told {kind}"
        return "nothing"


class Findings:
    """Everything of a finished campaign. Raises nothing; `problems` lists what must not be."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign
        self.windows = {name: Window(name) for name in campaign.attacks}
        self._of_session: dict[bytes, str] = {}
        self._said: list[PartyMessage] = []
        self._read_evidence()
        state = campaign.made.folder(PARTIES[campaign.honest]).state
        with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
            for event in store.events():
                self.windows[event.window].faces[event.camera, event.slot] = event
            announcements = store.announcements()
        for announcement in announcements:
            window = announcement.detail.removeprefix("window ").split(" ")[0].rstrip(":")
            if window in self.windows:
                self.windows[window].announced.append(announcement)
        with PartyJournal(state / "journal.sqlite") as journal:
            for name, found in self.windows.items():
                found.closed = journal.closed(name)
                counts = journal.counts(name)
                found.failures = counts[Count.FAILURES]
                found.outages = counts[Count.OUTAGES]
                for known in journal.known_sets(name):
                    found.states[known.set_id] = [
                        SlotState(one) for one in journal.load_states(known.set_id)
                    ]
        self.records, self._head = read_state(state / "journal.sqlite", state / EVENTS_FILE)

    def _read_evidence(self) -> None:
        with self._campaign.evidence.open("rb") as file:
            records = list(msgpack.Unpacker(file, max_buffer_size=0))
        for what, *rest in records:  # what a session is called is known when it has begun
            if what == "met":
                self._of_session[rest[1]] = rest[0]
            elif what == "struck":
                for session in rest[2]:
                    if session.strip(b"\0"):  # what no session names, any window may have said
                        self._of_session.setdefault(session, rest[0])
        for what, *rest in records:
            if what == "heard":
                message = PARTY_CODEC.decode(rest[0])
                self._said.append(message)
                name = self._window_of(message)
                if name is not None:
                    self.windows[name].said.append(message)
            elif what == "struck":
                window = self.windows[rest[0]]
                window.struck = True
                window.runs = unpack_runs(rest[1])
                window.since = len(window.said)

    def _window_of(self, message: PartyMessage) -> str | None:
        if hasattr(message, "window"):
            return str(message.window)
        found = self._of_session.get(message.session)
        if found is None and isinstance(message, Refused):
            found = message.detail.removeprefix("window ").split(" ")[0].rstrip(":")
        return found if found in self.windows else None

    # -- what must hold -------------------------------------------------------------------

    def problems(self) -> Iterator[str]:
        """What is wrong with the honest party as a whole."""
        campaign = self._campaign
        if campaign.codes[campaign.honest] != 0:
            yield f"exit code {campaign.codes[campaign.honest]}"
        if "Traceback" in campaign.log(campaign.honest):
            yield f"a traceback: {campaign.log(campaign.honest)[-2000:]}"
        yield from check_chain(self.records, self._head)
        sides: list[list[PartyMessage]] = [[], []]
        sides[campaign.honest] = self._said
        if campaign.honest == 0:
            yield from shown_twice(sides[0], [])

    def fell_behind(self) -> list[str]:
        """Windows without an attack that saw anything but matched faces."""
        return [
            f"{name}: {window.outcome()}, {window.reasons}"
            + ("" if self._goes_on(window) else ", its last face is not verified")
            for name, window in self.windows.items()
            if isinstance(self._campaign.attacks[name], Control)
            and not (window.outcome() == "nothing" and self._goes_on(window))
        ]

    def met_deadlines(self) -> bool:
        """Whether a deadline ended a window before its attack could, as on a busy machine."""
        return any(
            window.outcome() == PeerVanished.__name__
            and PeerVanished.__name__ not in self._campaign.attacks[name].expected
            for name, window in self.windows.items()
        )

    def judge(self, window: Window) -> Iterator[str]:
        """What is wrong with the end of one attack."""
        campaign = self._campaign
        attack = campaign.attacks[window.name]
        outcome = window.outcome()
        if not window.struck:
            yield "the attack was never made"
        if outcome not in attack.expected:
            yield f"ended in {outcome}, expected {' or '.join(sorted(attack.expected))}"
        yield from self._results(window)
        attacked = [
            window.states[run.set_id][slot]
            for run in window.runs
            if run.stop <= len(window.states[run.set_id])  # others are refused as a whole
            for slot in range(run.first, run.stop)
        ]
        if attack.told and attack.told not in window.told:
            yield f"no {attack.told} was announced"
        if window.closed is not None:
            yield from self._closed(window)
        elif not attack.starves and not attack.alone and not self._goes_on(window):
            yield "no face is verified any more"
        stopped = window.closed or (set(window.errors) | window.told) & STOPPED
        over = {SlotState.BURNED}
        if outcome == "HeaderMismatch":  # a refused run may name slots that were verified before
            over.add(SlotState.DONE)
        if stopped and not attack.spares and set(attacked) - over:
            yield f"slots of the attack are {sorted({s.name for s in attacked})}, not burned"
        harmless = outcome == "PeerVanished" and not window.outages and not window.runs
        if outcome not in UNSEEN and not harmless and not self._audited(window):
            yield "no entry in the audit log"

    def _results(self, window: Window) -> Iterator[str]:
        """Released results are the plaintext ones; what an entry lacks was announced."""
        people = {**PEOPLE, **DAN}
        limit = self._campaign.made.params.threshold
        for (camera, slot), event in window.faces.items():
            if event.status is not Status.VERIFIED:
                if event.entries and event.status is Status.BURNED:
                    yield f"slot {slot} is burned, and tells {event.entries}"
                continue
            face = self._campaign.lenses[camera].faces[window.name, slot]
            right = {
                name
                for name, row in people.items()
                if int(((face - np.array(row)) ** 2).sum()) < limit
            }
            missing = right - set(event.entries)
            if set(event.entries) - right:
                yield f"slot {slot}: found {event.entries}, right is {sorted(right)}"
            elif missing - set(DAN) and not {"omission", "watchlist"} & window.told:
                yield f"slot {slot}: {sorted(missing)} is left out and nobody was told"
        if window.closed is None:
            return
        for run in window.runs:  # its numbers are the attacker's, and may be huge
            for (_, slot), event in window.faces.items():
                ours = event.set_id == run.set_id and run.first <= slot < run.stop
                if ours and event.status is Status.VERIFIED:
                    yield f"slot {slot} of the attack was verified"

    def _closed(self, window: Window) -> Iterator[str]:
        closed = window.closed or ""
        if closed.startswith("TamperDetected"):
            if window.failures != 1 or "tamper" not in window.told:
                yield f"{window.failures} failures are counted, told was {sorted(window.told)}"
            if "TamperDetected" not in window.errors:
                yield "the peer was not told"
        state = self._campaign.made.folder(PARTIES[self._campaign.honest])
        if (state.state / "window-keys" / f"{window.name}.key").exists():
            yield "the window's key is still there"
        if list((state.path / "material" / window.name).glob("*.tkm")):
            yield "the window's material is still there"
        left = {
            one.name
            for states in window.states.values()
            for one in states
            if one in (SlotState.REVEALED, SlotState.IN_PREPARE)
        }
        if left:
            yield f"some slots are {sorted(left)}"

    def _goes_on(self, window: Window) -> bool:
        last = self._campaign.last.get(window.name)
        if last is None:
            return False
        event = window.faces.get(("gate", last[1]))
        return event is not None and event.status is Status.VERIFIED

    def _audited(self, window: Window) -> bool:
        kinds = {
            record.kind
            for record in self.records
            if f"window {window.name}" in record.detail and record.kind != "window"
        }
        return bool(kinds - {"place", "batch"})


UNSEEN: Final = ("nothing", "StaleMessage")  # what may come of a bad line as well
STOPPED: Final = {
    "TamperDetected",
    "HeaderMismatch",
    "ProtocolViolation",
    "SlotReused",
    "PeerVanished",
    "outage",
}
