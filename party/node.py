"""The long-running process of a party: sockets, windows, watchlist, status (protocol section 3)."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from party import audit
from party.acks import Acknowledgements
from party.auditfile import pack_head, unpack_head
from party.cameralink import CAMERA_BACKLOG, CameraLink
from party.config import PartyConfig
from party.doorkeeper import LOOK_SECONDS, Doorkeeper, raise_open_files
from party.evaluation import AT_ONCE
from party.events import EventStore
from party.health import Demands, Health
from party.journal import PartyJournal
from party.latency import LatencyCounts
from party.openwindows import OpenWindows
from party.outbox import Limits, Outbox
from party.peerlink import ROUTE, PeerLink
from party.peertalk import PeerTalk
from party.statefiles import EVENTS_FILE, JOURNAL_FILE, LINES_FILE
from party.status import STATUS_FILE
from party.upkeep import Upkeep
from party.warmup import warm_up
from party.watchedlist import WatchedList
from party.windows import Opener
from party.windowstate import Moment
from shared.atomicfile import PUBLIC, write_atomic
from shared.errors import TwokeyError
from shared.keys import PublicIdentity
from shared.messages import FaceAck
from shared.roles import RoleFolder
from shared.transport import Connection, Listener, Poller, Transport

if TYPE_CHECKING:
    from party.metrics import PartyMetrics

log = logging.getLogger(__name__)

_IDLE_MS = 5
_DISK_MS = 1  # while the disk is to confirm what a message waits for
_SECOND = 1.0
_DAY_MS = 86_400_000
_QUIET_SECONDS = 0.2
_MAX_MESSAGE = 80 << 20
_PEER_BACKLOG = 1 << 30
_SPARE_CONNECTIONS = 256
_PEER_QUEUE = 100_000


def _never() -> bool:
    """Nobody asks to stop."""
    return False


class PartyNode:
    """Everything of one party process. Use: `run`, until `stopped` says so; then `close`.

    Raises typed errors when it is made: ConfigError, AuthenticationFailed, Locked, ResourceError.
    """

    def __init__(
        self, folder: Path, config: PartyConfig, stopped: Callable[[], bool] = _never
    ) -> None:
        warm_up()
        raise_open_files()
        role = RoleFolder(folder)
        self.config = config
        self.limits: Limits = config.limits.limits()
        self.outbox = Outbox(os.urandom, self._barrier, self._deliver)
        self._stopped = stopped
        identity = role.identity("p0" if config.party == 0 else "p1")
        trusted = role.trusted()
        peer = trusted.the("p1" if config.party == 0 else "p0")
        self._state = role.state
        self._people = WatchedList(config.watchlist)
        self._next_second = 0.0
        self._next_look = 0.0
        self._fatal: TwokeyError | None = None
        self._audit_head = audit.EMPTY
        self._rate = (0.0, 0)
        self.journal = PartyJournal(role.state / JOURNAL_FILE)
        try:
            self.events = EventStore(role.state / EVENTS_FILE, role.state / LINES_FILE)
            try:
                self._transport = Transport(identity.curve_pair())
                opener = Opener(
                    config.party,
                    identity.name,
                    role.state,
                    trusted.the("dealer"),
                    self.journal,
                    self.events,
                    self.limits,
                    self.outbox,
                    config.chunk_cache_mib << 20,
                )
                self._windows = OpenWindows(config, opener, self._people)
                self._sessions = self._windows.sessions
                self._listen(peer.curve_key, trusted.cameras())
                self._metrics = _metrics(config.metrics_listen)
                self._health = _health(config, role.state)
                self._upkeep = Upkeep(
                    self.journal.maintain,
                    self.events.maintain,
                    self._save_audit_head,
                    self._forget,
                )
                self._acks = Acknowledgements(self._sync, self._cameras.send)
            except BaseException:
                self.events.close()
                raise
        except BaseException:
            self.journal.close()
            raise
        self._report_recovery()
        self._check_audit_log()

    def _check_audit_log(self) -> None:
        """A log that was cut off or replaced while this process did not run is announced."""
        known = unpack_head(self.journal.audit_head())
        if self.events.audit_digest(known.sequence) != known.digest:
            text = f"record {known.sequence} of the audit log is missing or another one"
            log.critical("%s", text)
            self.events.announce("audit", text)
        self.events.note(audit.WATCHLIST, self._people.describe())

    def _report_recovery(self) -> None:
        """What the last stop cost, for the operator."""
        found = self.journal.recovery
        for what, runs in (
            ("in a check without a verdict", [run for _, part in found.checks for run in part]),
            ("in a batch without a verdict", [run for _, part in found.batches for run in part]),
            ("revealed perhaps before the machine went down", found.reserved),
        ):
            if runs:
                slots = sum(run.length for run in runs)
                log.warning("after the last stop: %d slots burned, %s", slots, what)
                self.events.announce("recovery", f"{slots} slots burned, {what}")

    def _listen(self, peer_key: bytes, cameras: Iterable[PublicIdentity]) -> None:
        config = self.config
        self._cameras = CameraLink(
            self._transport,
            config.listen,
            {identity.curve_key: identity.name for identity in cameras},
            self._sessions,
            self.limits.clock_tolerance,
        )
        peer_end: Listener | Connection
        if config.party == 0:
            peer_end = self._transport.connect(
                config.peer_address,
                peer_key,
                identity=ROUTE,
                queue=_PEER_QUEUE,
                max_message=_MAX_MESSAGE,
                ahead=False,  # what P0 says twice a second to a P1 that is away would pile up
            )
        else:
            peer_end = self._transport.listen(
                config.peer_address,
                [peer_key],
                domain="peer",
                queue=_PEER_QUEUE,
                max_message=_MAX_MESSAGE,
                handover=True,
            )
        self._talk = PeerTalk(
            PeerLink(peer_end, os.urandom),
            self.outbox,
            self._sessions,
            self.events,
            self.journal.sync,
        )
        self._peer_end = peer_end
        self._poller = Poller(self._cameras.end, peer_end)
        most = _SPARE_CONNECTIONS + 2 * self._cameras.known
        self._doorkeepers = [
            Doorkeeper(end, most=most, backlog=backlog)
            for end, backlog in ((self._cameras.end, CAMERA_BACKLOG), (peer_end, _PEER_BACKLOG))
            if isinstance(end, Listener)
        ]

    # -- the loop --------------------------------------------------------------------------

    def run(self) -> None:
        """Serves until it is stopped and nothing is in flight; raises what ended it otherwise."""
        self._when_due(now())  # cameras that wait already shall find their windows open
        log.info("P%d is ready; cameras on %s", self.config.party, self._cameras.end.endpoint())
        while not self._stopped():
            self._round()
            fatal = self._fatal or self._talk.error or self._upkeep.error or self._acks.error
            if fatal is not None:
                raise fatal
        self._drain()

    def close(self) -> None:
        """Closes windows' files, sockets, journal and events; what is prepared stays."""
        self._upkeep.close()
        self._acks.close()
        self._talk.close()
        self._windows.close()
        if self._metrics is not None:
            self._metrics.close()
        if self._health is not None:
            self._health.close()
        self._transport.close()
        self._save_audit_head()
        self.events.close()
        self.journal.close()

    def _round(self) -> None:
        waiting = any(s.work_waits for s in self._sessions.values())
        idle = _DISK_MS if self._talk.held else _IDLE_MS
        ready = self._poller.ready(0 if waiting else idle)
        if waiting and not ready and not self._work_ahead():
            ready = self._poller.ready(idle)
        if self._peer_end in ready:
            self._talk.read(now)
        if self._cameras.end in ready:
            self._cameras.read(now)
        moment = now()
        if moment.seconds >= self._next_look:
            self._next_look = moment.seconds + LOOK_SECONDS
            for keeper in self._doorkeepers:
                for line in keeper.look(moment.seconds):
                    log.warning("connection shut: %s", line)
        self._when_due(moment)
        for session in self._sessions.values():
            session.tick(moment)
        self._flush(moment)

    def _drain(self) -> None:
        """Lets batches and checks in flight end, for a few seconds at most.

        P1 asks P0 to begin no more of them, and waits for its answer.
        """
        for session in self._sessions.values():
            session.draining = True
        moment = now()
        deadline = moment.seconds + self.limits.confirm_deadline
        quiet = moment.seconds + _QUIET_SECONDS
        while moment.seconds < min(deadline, quiet):
            self._talk.read(now)
            moment = now()
            for session in self._sessions.values():
                session.tick(moment)
            self._flush(moment)
            self._poller.ready(_IDLE_MS)
            if any(session.busy or session.expects_more for session in self._sessions.values()):
                quiet = moment.seconds + _QUIET_SECONDS
        moment = now()
        for session in self._sessions.values():
            session.suspend(moment)
        self._flush(moment)
        self._talk.finish()
        self._acks.finish()
        self._write_status(moment, "stopped")

    def _work_ahead(self) -> bool:
        return any(s.work_ahead(AT_ONCE) for s in self._sessions.values())

    # -- messages out ----------------------------------------------------------------------

    def _flush(self, moment: Moment) -> None:
        self._talk.flush()
        for camera, message in self.outbox.take_cameras():
            if isinstance(message, FaceAck):
                self._acks.add(camera, message, moment.seconds)
            else:
                self._cameras.send(camera, message)
        self._acks.advance(moment.seconds)

    def _barrier(self) -> None:
        self._talk.barrier()

    def _deliver(self) -> None:
        self._talk.flush()

    def _sync(self) -> None:
        self.journal.sync()
        self.events.sync()

    def _forget(self) -> None:
        """Some of the faces that are not to be kept any longer; on the thread of the upkeep."""
        before = now().wall_ms - round(self.config.keep_events_days * _DAY_MS)
        self.events.forget_before(before, frozenset(self._sessions))

    # -- windows, watchlist, status --------------------------------------------------------

    def _when_due(self, moment: Moment) -> None:
        if moment.seconds >= self._next_second:
            self._next_second = moment.seconds + _SECOND
            self._every_second(moment)

    def _every_second(self, moment: Moment) -> None:
        problem = self._windows.open_due(moment)
        self._fatal = self._fatal or problem
        self._windows.end_due(moment)
        self._windows.announce_missing(moment)
        self._reload_watchlist(moment)
        self._write_status(moment, "running")

    def _save_audit_head(self) -> None:
        """The journal learns where the audit log ends, once that is durable; for the upkeep."""
        head = self.events.audit_head
        if head != self._audit_head:
            self.events.sync()
            self.journal.record_audit_head(pack_head(head))
            self._audit_head = head

    def _reload_watchlist(self, moment: Moment) -> None:
        sessions = self._sessions.values()
        try:
            changed = self._people.changed([session.params for session in sessions])
        except TwokeyError as error:
            log.error("watchlist: %s; the former one stays in force", error)
            return
        if not changed:
            return
        for session in sessions:
            session.set_watchlist(self._people.entries(session.params), moment)
        log.info("the watchlist has %d entries now", self._people.size)
        self.events.note(audit.WATCHLIST, self._people.describe())

    def _write_status(self, moment: Moment, state: str) -> None:
        total = sum(s.matched_faces for s in self._sessions.values())
        seconds = moment.seconds - self._rate[0]
        rate = (total - self._rate[1]) / seconds if seconds > 0 else 0.0
        self._rate = (moment.seconds, total)
        status = {
            "state": state,
            "party": self.config.party,
            "pid": os.getpid(),
            "written_ms": moment.wall_ms,
            "faces_per_second": round(max(rate, 0.0), 1),
            "watchlist_entries": self._people.size,
            "wire": self._talk.wire.as_map(),
            "windows": [s.status() for s in self._sessions.values()],
        }
        write_atomic(
            self._state / STATUS_FILE,
            orjson.dumps(status),
            "status",
            mode=PUBLIC,
            replace=True,
            durable=False,  # of no use after a crash, and faces wait for it
        )
        if self._health is not None:
            self._health.update(status)
        if self._metrics is not None:
            latency = LatencyCounts()
            for counts in (self._windows.latency, *(s.latency for s in self._sessions.values())):
                latency.include(counts)
            self._metrics.update(status, latency)


def _health(config: PartyConfig, state: Path) -> Health | None:
    if not config.health_listen:
        return None
    demands = Demands(config.limits.clock_tolerance, config.ready_disk_mib)
    return Health(config.health_listen, state, demands)


def _metrics(address: str) -> PartyMetrics | None:
    """Served at this address; without one the library is not even loaded."""
    if not address:
        return None
    from party.metrics import PartyMetrics

    metrics = PartyMetrics()
    metrics.serve(address)
    return metrics


def now() -> Moment:
    """This moment, from the machine's clocks."""
    return Moment(time.monotonic(), time.time_ns() // 1_000_000)
