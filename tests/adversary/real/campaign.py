"""A campaign: one honest party's process, one corrupted one, and a window for every attack."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from party.config import PartyConfig
from party.status import STATUS_FILE, read_status
from perf.deployment import PARTIES, Deployment, deploy
from shared import config
from shared.errors import TwokeyError
from tests.adversary.real.attack import Attack
from tests.adversary.real.catalogue import catalogue
from tests.adversary.real.ground import (
    BOTH,
    DAN,
    NEAR_ADA,
    NEAR_DAN,
    PARAMS,
    PEOPLE,
    ROOT,
    STRANGER,
    mint_window,
    watch,
)
from tests.adversary.real.lens import Lens

FIRST_ROUND: Final = (NEAR_ADA, STRANGER)
# What an attack burned, and the faces that met it, are over when the last one comes.
LATER_ROUNDS: Final = ((STRANGER,), (NEAR_DAN, STRANGER), (NEAR_ADA,))
SLOTS: Final = 24
# Long enough for a loaded machine, short enough to wait for.
DEADLINES: Final[Mapping[str, float]] = {
    "check_deadline": 6.0,
    "confirm_deadline": 6.0,
    "face_deadline": 14.0,
    "entry_deadline": 5.0,
    "peer_silence": 6.0,
}
LIMITS: Final[Mapping[str, float]] = {
    **DEADLINES,
    "clock_tolerance": 60.0,  # many windows open at once: the loop lags for seconds
    "prepare_ahead": 6,
    "check_slots": 16,
    "reserve_block": 8,
}
_PATIENCE = 60.0
_PREPARED = 4  # slots
_MARKS_SECONDS = 0.5
_POLL = 0.05


@dataclass
class Campaign:
    """The folders, the attack of each window, and after `run` all that came of it.

    corrupted: which party. slowness: of the machine; all deadlines are so many times as long.
    """

    made: Deployment
    corrupted: int
    attacks: dict[str, Attack]
    slowness: float = 1.0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    lenses: dict[str, Lens] = field(default_factory=dict)
    last: dict[str, tuple[str, int]] = field(default_factory=dict)  # of the gate, in each window

    @property
    def honest(self) -> int:
        """The other party."""
        return 1 - self.corrupted

    @property
    def evidence(self) -> Path:
        """What the corrupted party wrote down."""
        return self.made.root / "evidence"

    def log(self, party: int) -> str:
        """What a party wrote to standard error."""
        return (self.made.root / f"p{party}.log").read_text(errors="replace")

    def run(self) -> None:
        """From the start of both processes to their end."""
        with self._running():
            self._until(self._closed_at_sight, "windows are open", _PATIENCE)
            self._until(
                self._unprepared, "windows are prepared", self._seconds("check_deadline") + 3.0
            )
            self._round(FIRST_ROUND)
            watch(self.made, more=True)
            self._until(self._without_new_map, "the new map", self._seconds("entry_deadline") + 3.0)
            for faces in LATER_ROUNDS:
                self._round(faces)
        for lens in self.lenses.values():
            lens.close()

    def _seconds(self, deadline: str) -> float:
        return self.slowness * LIMITS[deadline]

    # -- processes -----------------------------------------------------------------------

    @contextmanager
    def _running(self) -> Iterator[None]:
        root = self.made.root
        (root / "attacks.json").write_bytes(
            orjson.dumps({window: one.name for window, one in self.attacks.items()})
        )
        for party in (0, 1):
            settings = str(root / PARTIES[party] / "party.toml")
            if party == self.corrupted:
                paths = [settings, str(root / "attacks.json"), str(self.evidence)]
                command = ["tests.adversary.real.cheat", *paths]
            else:
                command = ["party", "--log-level", "warning", "run", "-c", settings]
            with (root / f"p{party}.log").open("wb") as log:
                self.processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", *command],
                        cwd=ROOT,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )
        try:
            yield
            for process in self.processes:
                process.send_signal(signal.SIGTERM)
            self.codes = [process.wait(timeout=60) for process in self.processes]
        finally:
            for process in self.processes:
                if process.poll() is None:
                    process.kill()
                process.wait()

    def _windows(self, party: int) -> dict[str, dict[str, Any]]:
        """What a party reports of its windows."""
        path = self.made.folder(PARTIES[party]).state / STATUS_FILE
        try:
            found, alive = read_status(path, time.time())
        except TwokeyError:
            return {}
        if not alive or found["pid"] != self.processes[party].pid:
            return {}
        return {window["window"]: window for window in found["windows"]}

    def _until(self, missing: Callable[[], int], what: str, patience: float) -> None:
        """Waits until nothing is missing, or as much as before for so many seconds.

        AssertionError when a party has ended.
        """
        fewest, since = 1 << 30, time.monotonic()
        while left := missing():
            if left < fewest:
                fewest, since = left, time.monotonic()
            elif time.monotonic() - since > patience:
                return
            for party, process in enumerate(self.processes):
                if process.poll() is not None:
                    raise AssertionError(f"P{party} ended: {what}: {self.log(party)[-2000:]}")
            for lens in self.lenses.values():
                lens.poll()
            time.sleep(_POLL)

    # -- phases --------------------------------------------------------------------------

    def _closed_at_sight(self) -> int:
        """How many windows are not open yet."""
        return sum(len(self.attacks) - len(self._windows(party)) for party in (0, 1))

    def _unprepared(self) -> int:
        """How many windows can not match a face yet, although they are not closed."""
        both = [self._windows(party) for party in (0, 1)]
        return sum(
            not window["closed"]
            and not (
                window["peer_up"]
                and window["places_live"]
                and all(c["prepared"] >= _PREPARED for c in window["cameras"].values())
            )
            for windows in both
            for window in windows.values()
        )

    def _without_new_map(self) -> int:
        """How many windows do not have the changed watchlist's places yet."""
        return sum(
            not window["closed"] and window["places_live"] != len(PEOPLE) + len(DAN)
            for window in self._windows(self.honest).values()
        )

    def _round(self, faces: Sequence[Sequence[int]]) -> None:
        """Faces in every window; waits until each has an outcome at the honest party."""
        for lens in self.lenses.values():
            lens.ask()
        begun = time.monotonic()
        self._until(lambda: time.monotonic() - begun < _MARKS_SECONDS, "marks", _PATIENCE)
        sent: list[tuple[Lens, tuple[str, int]]] = []
        for window, attack in self.attacks.items():
            if attack.starves and window in self.last:
                continue
            for camera in attack.cameras:
                lens = self.lenses[camera]
                slots = lens.send(window, faces)
                sent += [(lens, slot) for slot in slots]
                if camera == "gate" and slots:
                    self.last[window] = slots[-1]
        mine = self.honest

        def without_outcome() -> int:
            return sum(
                slot not in lens.outcomes[mine]
                and lens.refused[mine].get(slot[0]) != "WindowClosed"
                for lens, slot in sent
            )

        self._until(without_outcome, "outcomes", self._seconds("face_deadline") + 6.0)


def prepared_campaign(
    root: Path, corrupted: int, names: Sequence[str], slowness: float = 1.0
) -> Campaign:
    """Folders, keys and material for these attacks of a party, a window for each."""
    limits = {
        name: value * slowness if name in DEADLINES else value for name, value in LIMITS.items()
    }
    made = deploy(root, PARAMS, cameras=BOTH, seconds=100_000, limits=limits)
    known = catalogue(corrupted)
    attacks = {f"a{number:04d}": known[name]() for number, name in enumerate(names)}
    campaign = Campaign(made, corrupted, attacks, slowness)
    watch(made)
    for window, attack in attacks.items():
        mint_window(made, window, attack.cameras, SLOTS)
    addresses = [config.load(PartyConfig, root / party / "party.toml").listen for party in PARTIES]
    for camera in BOTH:
        windows = [window for window, attack in attacks.items() if camera in attack.cameras]
        campaign.lenses[camera] = Lens(made, camera, windows, addresses)
    return campaign
