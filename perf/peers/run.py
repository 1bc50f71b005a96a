"""`twokey-perf peers`: twokey and others on the same faces in one run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import orjson

from perf.conditions import Conditions, Progress
from perf.measure import measure
from perf.replay import Workload
from perf.report import machine
from perf.workload import random_workload
from shared.errors import ResourceError
from shared.fixedpoint import plaintext_matches

_SECONDS = 600
_ALONE = 200
_MANY = 100


@dataclass(frozen=True, slots=True)
class Peer:
    """A system to compare with. script: in this folder; packages: as pip names them."""

    name: str
    security: str
    script: str
    packages: tuple[str, ...]
    arguments: tuple[str, ...] = ()


PEERS = (
    Peer("plain numpy", "none", "plain_numpy.py", ("numpy>=2.2,<2.5",)),
    Peer(
        "CKKS (TenSEAL)",
        "client learns the distances",
        "tenseal_ckks.py",
        ("tenseal==0.3.18", "numpy>=2.2,<2.5"),
    ),
    Peer(
        "MPyC, 3 parties",
        "passive, honest majority",
        "mpyc_shamir.py",
        ("mpyc==0.11", "numpy>=2.2,<2.5"),
        ("-M3",),
    ),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A system's figures for so many faces at a time; ms and bytes are a face's."""

    system: str
    security: str
    faces: int
    ms_per_face: float
    online_bytes: float
    mismatches: int

    def as_map(self) -> dict[str, object]:
        """For the JSON object."""
        return {name: getattr(self, name) for name in self.__slots__}


def peers(wanted: Conditions, progress: Progress) -> tuple[list[Row], dict[str, object]]:
    """twokey first, then every peer that installs. Raises ResourceError for twokey's own runs.

    A peer that does not install or run is named under `unavailable`, with the reason.
    """
    work = random_workload(wanted.faces, wanted.entries, wanted.dim)
    progress("twokey")
    rows = _own(wanted, work)
    unavailable: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="twokey-peers-") as folder:
        task = Path(folder) / "task.npz"
        np.savez(
            task,
            faces=work.faces,
            entries=work.distinct,
            threshold=work.params.threshold,
            bits=plaintext_matches(work.faces, work.distinct, work.params.threshold),
        )
        for peer in PEERS:
            progress(peer.name)
            try:
                rows += _run(peer, task)
            except ResourceError as error:
                unavailable[peer.name] = str(error)
                progress(f"{peer.name} is left out: {error}")
    result: dict[str, object] = {
        "rows": [row.as_map() for row in rows],
        "unavailable": unavailable,
        "mismatches": sum(row.mismatches for row in rows),
        "conditions": wanted.as_map(),
        "machine": machine(),
    }
    return rows, result


def _own(wanted: Conditions, work: Workload) -> list[Row]:
    setting = wanted.setting()
    one = measure(
        replace(work, faces=work.faces[:_ALONE]),
        replace(setting, faces_per_message=1),
        one_by_one=True,
    )
    many = measure(work, replace(setting, faces_per_message=min(64, wanted.faces)))
    return [
        Row(
            "twokey",
            "active",
            1,
            float(np.median(one.latencies)),
            one.wire_bytes["online"] / one.faces,
            one.mismatches,
        ),
        Row(
            "twokey",
            "active",
            many.faces,
            1000 / many.faces_per_second,
            many.wire_bytes["online"] / many.faces,
            many.mismatches,
        ),
    ]


def environment(peer: Peer) -> Path:
    """The Python of the peer's own environment, made when it is not there. ResourceError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "twokey" / "peers" / Path(peer.script).stem
    python, done = folder / "bin" / "python", folder / "packages.json"
    wanted = orjson.dumps([*peer.packages, sys.version])
    if done.exists() and done.read_bytes() == wanted:
        return python
    try:
        venv.create(folder, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ResourceError(f"no environment could be made: {error}") from None
    _call([str(python), "-m", "pip", "install", "-q", *peer.packages], folder)
    done.write_bytes(wanted)
    return python


def _run(peer: Peer, task: Path) -> list[Row]:
    python = environment(peer)
    script = Path(__file__).with_name(peer.script)
    printed = _call([str(python), str(script), str(task), *peer.arguments], task.parent)
    try:
        found = orjson.loads([line for line in printed.splitlines() if line[:1] == "{"][-1])
    except (IndexError, orjson.JSONDecodeError):
        raise ResourceError("it printed no result") from None
    name = f"{peer.name} {found['version']}"
    return [
        Row(
            f"{name}, {row['what']}" if "what" in row else name,
            peer.security,
            row["faces"],
            row["ms_per_face"],
            row["online_bytes"],
            row["mismatches"],
        )
        for row in found["rows"]
    ]


def _call(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ResourceError(f"{type(error).__name__}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise ResourceError(lines[-1][:200] if lines else f"exit code {done.returncode}")
    return done.stdout
