"""Private matching in one process: dealer, both parties, an authority and a camera."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dealer.engine_job import EngineOrder, mint_engine
from party.engine.material import Material
from party.engine.session import EngineSession
from party.events import EventStore
from party.private.accept import Session
from party.private.inbox import Inbox
from party.private.lists import SharedList
from party.private.run import PrivateRun
from shared.engine_client import ClientMasks
from shared.engine_file import EngineFile
from shared.engine_header import read_engine_header
from shared.keys import Identity, create_identity
from shared.masked_file import read_masked, write_masked
from shared.params import Parameters
from shared.private_plan import PrivateShape, private_plan
from shared.trust import TrustedIdentities, read_offered
from shared.windowkeys import Window
from tests.engine_support import Change, links
from tests.material_support import Recipient, make_recipient

PARAMS = Parameters(
    dim=6,
    fraction_bits=4,
    headroom_bits=7,
    places=1,
    threshold=100,
    face_bound=60,
    entry_bound=40,
    model="small-6",
)
ENTRIES = 3
LABELS = ("a", "b", "c")
FACES = 12


@dataclass
class PrivateStage:
    """One session, its files in `folder`. entries: (N, d), faces: (F, d) int64."""

    folder: Path
    dealer: Identity
    people: dict[str, Recipient]
    paths: dict[str, Path]
    trusted: TrustedIdentities
    entries: NDArray[np.int64]
    faces: NDArray[np.int64]

    def masks(self, who: str) -> ClientMasks:
        """The masks of `registry` or `gate`."""
        number = ("registry", "gate").index(who)
        state = self.folder / f"state-{who}"
        state.mkdir(exist_ok=True)
        file = EngineFile.open(
            self.paths[f"client-{number}"],
            dealer=self.dealer.public,
            window_key=self.people[who].private,
        )
        return ClientMasks(file, state)

    def listed(self, out: str = "lists") -> Path:
        """The masked list of the authority."""
        with self.masks("registry") as masks:
            return write_masked(
                self.folder / out,
                self.people["registry"].identity,
                masks,
                PARAMS,
                self.entries,
                labels=LABELS,
            )

    def share(self, first: int, count: int, folder: Path) -> Path:
        """Masked faces first .. of the camera, as the next ones that it masks."""
        times = tuple(range(first, first + count))
        gate = self.people["gate"].identity
        with self.masks("gate") as masks:
            return write_masked(folder, gate, masks, PARAMS, self.rows(first, count), times=times)

    def rows(self, first: int, count: int) -> NDArray[np.int64]:
        """What the camera masks of these faces: coordinates and squared norm."""
        faces = self.faces[first : first + count]
        return np.concatenate([faces, (faces * faces).sum(axis=1, keepdims=True)], axis=1)

    def session(self, party: int) -> Session:
        """A party's view of the session."""
        path = self.paths[f"p{party}"]
        header = read_engine_header(path).verify(self.dealer.public, "it")
        return Session(path, header, PrivateShape.of(header, "it"))

    def inbox(self, party: int) -> Inbox:
        """A party's inbox."""
        folder = self.folder / f"faces-{party}"
        folder.mkdir(exist_ok=True)
        return Inbox(folder, self.session(party), self.trusted)

    def events(self, party: int) -> EventStore:
        """A party's events."""
        return EventStore(
            self.folder / f"events-{party}.sqlite", self.folder / f"events-{party}.jsonl"
        )

    def run(
        self,
        lists: tuple[Path, Path],
        *,
        change: tuple[Change | None, Change | None] = (None, None),
        stop: tuple[Callable[[], bool], Callable[[], bool]] = (lambda: False, lambda: False),
        deadline: float = 10.0,
    ) -> list[Any]:
        """Both parties until they are done: summaries, or the errors raised."""
        ends = links()
        results: list[Any] = [None, None]

        def work(party: int) -> None:
            ends[party].change = change[party]
            ends[party].deadline = deadline
            state = self.folder / f"state-{party}"
            state.mkdir(exist_ok=True)
            session = self.session(party)
            file = EngineFile.open(
                session.path,
                dealer=self.dealer.public,
                window_key=self.people[f"p{party}"].private,
            )
            shared = SharedList(
                session, self.people["registry"].identity.public, read_masked(lists[party])
            )
            with self.events(party) as events:
                run = PrivateRun(shared, self.inbox(party), events)
                try:
                    with EngineSession(ends[party], Material(file, party), state) as engine:
                        run.run(engine, stop[party], until_done=True)
                    results[party] = run.summary
                except Exception as error:  # noqa: BLE001
                    results[party] = error

        threads = [threading.Thread(target=work, args=(party,)) for party in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def make_private_stage(folder: Path) -> PrivateStage:
    """Everybody with fresh keys, a minted session, and a list and faces that are near it."""
    now = time.time_ns() // 1_000_000
    window = Window("night", now - 1000, now + 3_600_000)
    dealer = create_identity("dealer", "dealer")
    people = {
        name: make_recipient(folder, role, name, window)  # type: ignore[arg-type]
        for name, role in (
            ("p0", "p0"),
            ("p1", "p1"),
            ("registry", "authority"),
            ("gate", "camera"),
        )
    }
    order = EngineOrder(
        private_plan(PARAMS.dim, ENTRIES, [FACES]),
        "list-1",
        people["p0"].public,
        people["p1"].public,
        (people["registry"].public, people["gate"].public),
        PARAMS,
    )
    paths = mint_engine(order, dealer, folder / "out")
    trusted = TrustedIdentities(folder / "trusted")
    for name in ("registry", "gate"):
        path = folder / f"{name}.json"
        path.write_bytes(people[name].identity.public_file())
        trusted.add(*read_offered(path))
    rng = np.random.default_rng(11)
    entries = rng.integers(-10, 11, size=(ENTRIES, PARAMS.dim))
    faces = entries[rng.integers(0, ENTRIES, FACES)] + rng.integers(-6, 7, (FACES, PARAMS.dim))
    return PrivateStage(folder, dealer, people, paths, trusted, entries, faces)
