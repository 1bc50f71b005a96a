"""Two parties and a dealer in a folder, and one engine session's files: what a session needs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from dealer.engine_job import EngineOrder, mint_engine
from perf.deployment import free_ports
from shared.engine_plan import Kind, plan
from shared.errors import ResourceError
from shared.keys import Identity
from shared.roles import RoleFolder, init_role
from shared.trust import read_offered
from shared.windowkeys import Window, WindowKey, load_window_key, publish_window_key

PARTIES = ("p0", "p1")
_WINDOW_MS = 6 * 3600 * 1000


@dataclass(slots=True)
class EngineStage:
    """The folders of dealer and parties below `root`, with window keys, everybody trusting."""

    root: Path
    dealer: Identity = field(repr=False)
    keys: dict[str, WindowKey]
    sessions: int = 0

    def mint(self, counts: Mapping[Kind, int]) -> tuple[Path, Path]:
        """The files of a new session for P0 and P1."""
        self.sessions += 1
        order = EngineOrder(
            plan(counts), f"session-{self.sessions}", self.keys["p0"], self.keys["p1"]
        )
        paths = mint_engine(
            order, self.dealer, self.root / "out", workers=len(os.sched_getaffinity(0))
        )
        return paths["p0"], paths["p1"]

    def run(
        self,
        command: Sequence[str],
        materials: tuple[Path, Path],
        extra: Sequence[str] = (),
        *,
        cpus: tuple[int | None, int | None] = (None, None),
        seconds: float = 300,
    ) -> tuple[bytes, bytes]:
        """Runs `python <command> <folder> <material> <address> <extra>` as both parties.

        What they wrote to standard output. Raises ResourceError when one fails.
        """
        address = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        processes = []
        for party, name in enumerate(PARTIES):
            given = [str(self.root / name), str(materials[party]), address, *extra]
            cpu = cpus[party]
            processes.append(
                subprocess.Popen(
                    [sys.executable, *command, *given],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    preexec_fn=_pinned(cpu) if cpu is not None else None,  # noqa: PLW1509
                )
            )
        try:
            found = [process.communicate(timeout=seconds)[0] for process in processes]
        finally:
            for process in processes:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        codes = [process.returncode for process in processes]
        if any(codes):
            raise ResourceError(f"engine parties ended with exit codes {codes}")
        return found[0], found[1]


def make_engine_stage(root: Path) -> EngineStage:
    """Fresh identities and keys for a window that starts now."""
    now = time.time_ns() // 1_000_000
    window = Window("window", now, now + _WINDOW_MS)
    public: dict[str, Path] = {}
    identities: dict[str, Identity] = {}
    for who, role in (("dealer", "dealer"), ("p0", "p0"), ("p1", "p1")):
        _, identities[who], public[who] = init_role(root / who, role, who)  # type: ignore[arg-type]
    keys = {}
    for name in PARTIES:
        folder = RoleFolder(root / name)
        for other, path in public.items():
            if other != name:
                folder.trusted().add(*read_offered(path))
        published = publish_window_key(identities[name], folder.state, root / "keys", window)
        keys[name] = load_window_key(published, identities[name].public, window.id)
    return EngineStage(root, identities["dealer"], keys)


def results(outputs: tuple[bytes, bytes]) -> list[dict[str, float]]:
    """The JSON object in the last line of each party's output."""
    return [orjson.loads(output.splitlines()[-1]) for output in outputs]


def _pinned(cpu: int) -> Callable[[], None]:
    return lambda: os.sched_setaffinity(0, {cpu})
