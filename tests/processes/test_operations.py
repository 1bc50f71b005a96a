"""What operators look at while the real processes run: readiness, announcements, the audit log."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest

from party.events import EventStore
from party.statefiles import EVENTS_FILE, LINES_FILE
from perf.deployment import free_ports
from shared.errors import EXIT_SECURITY
from tests.processes.world import CAMERA, PARTIES, ROOT, World, make_world


@pytest.fixture
def root() -> Iterator[Path]:
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="twokey-look-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def get(port: int, path: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as found:
            return found.status, orjson.loads(found.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())
    except urllib.error.URLError:
        return 0, {}


def lacking(port: int) -> set[str]:
    """Checks of /readyz that fail; `unreachable` while nobody answers."""
    code, found = get(port, "/readyz")
    if code == 0:
        return {"unreachable"}
    return {name for name, check in found["checks"].items() if not check["passed"]}


def audit(world: World, who: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    config = world.root / who / "party.toml"
    command = [sys.executable, "-m", "party", "audit", str(arguments[0]), "-c", str(config)]
    return subprocess.run(
        [*command, *map(str, arguments[1:])], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_readiness_follows_the_peer_and_both_audit_logs_agree(root: Path) -> None:
    (port,) = free_ports(1)
    with make_world(root / "world", 16, slots=16) as world:
        path = world.root / "p0" / "party.toml"
        text = path.read_text()
        assert text.count('health_listen = ""') == 1
        path.write_text(text.replace('health_listen = ""', f'health_listen = "127.0.0.1:{port}"'))
        world.start("p0")
        world.until(lambda: lacking(port) == {"peer"}, 30, "only the peer is lacking")
        assert get(port, "/healthz")[0] == 200
        world.start("p1")
        world.until(lambda: lacking(port) == set(), 30, "ready")
        world.kill("p1")
        world.until(lambda: lacking(port) == {"peer"}, 30, "the peer is gone")
        world.start("p1")
        world.start(CAMERA)
        world.until(world.done, 60, "an outcome for every face")
        world.until(lambda: lacking(port) == {"slots"}, 30, "all slots are used up")

        # While the processes run.
        exported = world.root / "p1.audit"
        for who in PARTIES:
            assert audit(world, who, "verify").returncode == 0
        assert audit(world, "p1", "export", exported).returncode == 0
        compared = audit(world, "p0", "verify", "--other", exported)
        assert (compared.returncode, compared.stderr) == (0, "")
        assert compared.stdout.endswith("the two logs agree\n")
        assert [world.stop(who) for who in PARTIES] == [0, 0]
        assert get(port, "/healthz")[0] == 0

        state = world.state("p0")
        with EventStore(state / EVENTS_FILE, state / LINES_FILE) as store:
            told = {a.kind: a.detail for a in store.announcements()}
        assert "no material is here for the time after it" in told["material missing"]
        assert "outage" not in told  # nothing was in flight

        # Somebody takes the end of the log away.
        with closing(sqlite3.connect(state / EVENTS_FILE)) as connection, connection:
            connection.execute(
                "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)"
            )
        cut = audit(world, "p0", "verify")
        assert cut.returncode == EXIT_SECURITY
        assert cut.stderr.startswith("error: the audit log: the log ends with record ")
        world.start("p0")
        world.until(
            lambda: "of the audit log is missing" in world.log("p0"), 30, "the party notices"
        )
        assert world.stop("p0") == 0
