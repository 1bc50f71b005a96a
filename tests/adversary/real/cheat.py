"""A corrupted party: `twokey-party run`, in which each window is attacked in its own way.

`python -m tests.adversary.real.cheat CONFIG ATTACKS EVIDENCE`. ATTACKS: a JSON file, window to
the name of its attack. EVIDENCE: what it did and what it heard is appended, as msgpack. It skips
every check of its own, so that only the honest party can find out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import click
import msgpack
import orjson

from party import prepare, windows
from party.cli import cli as party_cli
from party.config import PartyConfig
from party.follow import FollowSession
from party.lead import LeadSession
from party.matching import P0Confirming, P1Revealed, Verified
from party.peertalk import PeerTalk
from party.prepare import P0Committed, P1Judged, Passed
from party.session import WindowSession
from party.windowstate import Moment
from shared import config
from shared.cli import run
from shared.messages import PARTY_CODEC, Confirm1, PartyMessage, Prep4, Run, pack_runs
from tests.adversary.real.attack import Attack, Raw
from tests.adversary.real.catalogue import catalogue
from tests.adversary.real.wire import plain


class Evidence:
    """A file to which records are appended as they happen."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def heard(self, message: PartyMessage) -> None:
        """The honest party said this."""
        self._write("heard", [bytes(frame) for frame in PARTY_CODEC.encode(message)])

    def met(self, window: str, session: bytes) -> None:
        """A session of this window began."""
        self._write("met", window, session)

    def struck(self, window: str, runs: Iterable[Run], sessions: Iterable[bytes]) -> None:
        """The window's attack was made."""
        self._write("struck", window, pack_runs(runs), list(sessions))

    def _write(self, *record: object) -> None:
        os.write(self._handle, msgpack.packb(record))


class Corrupted(WindowSession):
    """Mixed into a party's session: its attack sees all that comes and goes."""

    attack: Attack
    said: dict[type[PartyMessage], PartyMessage]
    latest: ClassVar[dict[type[PartyMessage], tuple[str, PartyMessage]]] = {}  # of any window
    evidence: Evidence

    def send(self, message: PartyMessage) -> None:
        self.attack.seen(message)
        self.outbox.peer.extend(self.attack.outgoing(self, message))  # type: ignore[arg-type]
        self.said[type(message)] = plain(message)
        self.latest[type(message)] = (self.spec.name, plain(message))

    def receive(self, message: PartyMessage, moment: Moment) -> None:
        self.attack.seen(message)
        if self.attack.incoming(self, message):
            super().receive(message, moment)

    def tick(self, moment: Moment) -> None:
        super().tick(moment)
        if self.closed is None:
            self.attack.tick(self, moment)

    def begin(self, *arguments: Any) -> None:
        super().begin(*arguments)
        self.evidence.met(self.spec.name, self.session or b"")


class CorruptedLead(Corrupted, LeadSession):
    """P0 with an attack."""


class CorruptedFollow(Corrupted, FollowSession):
    """P1 with an attack."""


def corrupt(party: int, attacks: dict[str, Attack], evidence: Evidence) -> None:
    """Makes this process the corrupted party."""
    kind: type[Corrupted] = CorruptedLead if party == 0 else CorruptedFollow

    def session(spec: Any, *arguments: Any) -> WindowSession:
        made = kind.__new__(kind)
        made.attack, made.said, made.evidence = attacks[spec.name], {}, evidence
        made.attack.witness = evidence
        made.__init__(spec, *arguments)  # type: ignore[misc]
        made.attack.opened(made)
        return made

    name = "LeadSession" if party == 0 else "FollowSession"
    setattr(windows, name, session)

    honest_send, honest_route = PeerTalk._send, PeerTalk._route

    def send(self: PeerTalk, message: Any) -> None:
        if isinstance(message, Raw):
            self._link.send(message.frames)
        else:
            honest_send(self, message)

    def route(self: PeerTalk, message: PartyMessage, moment: Moment) -> None:
        evidence.heard(message)
        honest_route(self, message, moment)

    PeerTalk._send = send  # type: ignore[method-assign]
    PeerTalk._route = route  # type: ignore[method-assign]


def believe_everything() -> None:
    """Skips this party's own checks: it goes on, whatever the other one proves."""

    def p0_prepare(self: P0Committed, message: object) -> tuple[Passed, Prep4]:
        answer = Prep4(self.header.session, self.header.check, self.sigma, self.nonce)
        return prepare._passed(self.header, self.kappa), answer

    def p1_prepare(self: P1Judged, message: object) -> Passed:
        return prepare._passed(self.header, self.kappa)

    def p0_match(self: P0Confirming, message: object) -> Verified:
        return Verified(self.header, self.bits, self.transcript)

    def p1_match(self: P1Revealed, message: object) -> tuple[Verified, Confirm1]:
        return Verified(self.header, self.bits, self.transcript), self.opening

    P0Committed.receive = p0_prepare  # type: ignore[method-assign]
    P1Judged.receive = p1_prepare  # type: ignore[method-assign]
    P0Confirming.receive = p0_match  # type: ignore[method-assign]
    P1Revealed.receive = p1_match  # type: ignore[method-assign]


@click.command("cheat")
@click.argument("config_path", type=Path)
@click.argument("attacks_path", type=Path)
@click.argument("evidence_path", type=Path)
def cheat(config_path: Path, attacks_path: Path, evidence_path: Path) -> object:
    """Runs a corrupted party."""
    party = config.load(PartyConfig, config_path).party
    known = catalogue(party)
    named = orjson.loads(attacks_path.read_bytes())
    attacks = {window: known[name]() for window, name in named.items()}
    believe_everything()
    corrupt(party, attacks, Evidence(evidence_path))
    command = ["--log-level", "error", "run", "-c", str(config_path)]
    return party_cli(command, standalone_mode=False)


if __name__ == "__main__":
    run(cheat)
