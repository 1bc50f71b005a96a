"""Two parties of an engine session in one process, for the tests of the engine."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dealer.engine_job import EngineOrder, mint_engine
from party.engine.material import Material
from party.engine.session import EngineSession
from shared.engine_file import EngineFile
from shared.engine_messages import ENGINE_CODEC, EngineMessage, EngineRefused
from shared.engine_plan import Family, Kind, plan
from shared.errors import PeerVanished, SecurityError
from shared.keys import Identity, create_identity
from tests.material_support import Recipient, make_recipient

Change = Callable[[int, EngineMessage], EngineMessage | None]


@dataclass
class QueueLink:
    """A link through queues; every message is encoded and decoded as on the wire.

    change: gets the number of each message that is sent, and the message; what it returns is sent
    in its place, None is not sent.
    """

    out: queue.Queue[list[Any]]
    into: queue.Queue[list[Any]]
    change: Change | None = None
    sent: list[EngineMessage] = field(default_factory=list)
    deadline: float = 20.0

    def meet(self) -> None:
        """Nobody has to be waited for."""

    def send(self, message: EngineMessage) -> None:
        found: EngineMessage | None = message
        if self.change is not None:
            found = self.change(len(self.sent), message)
        self.sent.append(message)
        if found is not None:
            self.out.put([bytes(frame) for frame in ENGINE_CODEC.encode(found)])

    def receive(self) -> EngineMessage:
        try:
            frames = self.into.get(timeout=self.deadline)
        except queue.Empty:
            raise PeerVanished("no message in time") from None
        message: EngineMessage = ENGINE_CODEC.decode(frames)
        if isinstance(message, EngineRefused):
            raise SecurityError(f"the peer ended the session: {message.error}: {message.detail}")
        return message

    def close(self) -> None:
        """Nothing is told to the other end, as with a socket."""


def links() -> tuple[QueueLink, QueueLink]:
    """Both ends of a channel."""
    a: queue.Queue[list[Any]] = queue.Queue()
    b: queue.Queue[list[Any]] = queue.Queue()
    return QueueLink(a, b), QueueLink(b, a)


@dataclass
class Stage:
    """A dealer and two parties in a folder, with window keys."""

    folder: Path
    dealer: Identity
    parties: tuple[Recipient, Recipient]
    clients: tuple[Recipient, ...]
    made: int = 0

    def mint(self, counts: Mapping[Kind, int]) -> dict[str, Path]:
        """The files of a new session with so many items of each kind."""
        clients = sum(kind.family is Family.CLIENT for kind in counts)
        self.made += 1
        p0, p1 = (recipient.public for recipient in self.parties)
        order = EngineOrder(
            plan(counts),
            f"session-{self.made}",
            p0,
            p1,
            tuple(client.public for client in self.clients[:clients]),
        )
        return mint_engine(order, self.dealer, self.folder / "out")

    def material(self, paths: Mapping[str, Path], party: int) -> Material:
        """A party's material from these files."""
        return Material(
            EngineFile.open(
                paths[f"p{party}"],
                dealer=self.dealer.public,
                window_key=self.parties[party].private,
            ),
            party,
        )

    def state(self, party: int) -> Path:
        """A party's folder of private files."""
        path = self.folder / f"state-{party}"
        path.mkdir(exist_ok=True)
        return path

    def run(
        self,
        counts: Mapping[Kind, int],
        program: Callable[[EngineSession], Any],
        *,
        change: tuple[Change | None, Change | None] = (None, None),
        deadline: float = 20.0,
    ) -> tuple[Any, Any]:
        """Runs one program at both parties in a new session; results, or the errors raised."""
        return self.act(self.mint(counts), program, change=change, deadline=deadline)

    def act(
        self,
        paths: Mapping[str, Path],
        program: Callable[[EngineSession], Any],
        *,
        change: tuple[Change | None, Change | None] = (None, None),
        deadline: float = 20.0,
        sessions: tuple[type[EngineSession], type[EngineSession]] = (EngineSession, EngineSession),
    ) -> tuple[Any, Any]:
        """As `run`, on files that are there. sessions: what each party takes for a session."""
        ends = links()
        results: list[Any] = [None, None]

        def work(party: int) -> None:
            ends[party].change = change[party]
            ends[party].deadline = deadline
            try:
                material = self.material(paths, party)
                with sessions[party](ends[party], material, self.state(party)) as session:
                    results[party] = program(session)
            except Exception as error:  # noqa: BLE001
                results[party] = error

        threads = [threading.Thread(target=work, args=(party,)) for party in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results[0], results[1]

    def honest(
        self, counts: Mapping[Kind, int], program: Callable[[EngineSession], Any]
    ) -> tuple[Any, Any]:
        """As `run`; an error of either party is raised."""
        return self.right(self.run(counts, program))

    @staticmethod
    def right(results: tuple[Any, Any]) -> tuple[Any, Any]:
        """The results themselves; an error of either party is raised."""
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results


def make_stage(folder: Path) -> Stage:
    """Everybody, with fresh keys."""
    return Stage(
        folder,
        create_identity("dealer", "dealer"),
        (make_recipient(folder, "p0", "north"), make_recipient(folder, "p1", "south")),
        (make_recipient(folder, "camera", "court"), make_recipient(folder, "camera", "door")),
    )
