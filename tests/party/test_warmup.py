"""What a party process does once, before it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from party.config import PartyConfig
from shared import config
from shared.cores import cores

SERVED = """
import gc, json, sys
from threadpoolctl import threadpool_info
import party.node

class Seen:
    def __init__(self, *_): pass
    def run(self):
        blas = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        young = gc.get_threshold()[0]
        print(json.dumps({"blas": blas, "frozen": gc.get_freeze_count(), "young": young}))
    def close(self): pass

party.node.PartyNode = Seen
from party.cli import main
sys.argv = ["twokey-party", "run", "-c", sys.argv[1]]
main()
"""


@pytest.mark.parametrize("threads", [1, 2, 256])
def test_a_party_runs_with_the_threads_it_is_given_or_one_a_core_and_a_settled_heap(
    tmp_path: Path, threads: int
) -> None:
    path = tmp_path / "party.toml"
    config.write_default(PartyConfig, path, {"party": 0, "threads": threads})
    done = subprocess.run(
        [sys.executable, "-c", SERVED, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = orjson.loads(done.stdout)
    assert seen["blas"]
    assert set(seen["blas"]) == {min(threads, cores())}
    assert ("threads: 256 are configured" in done.stderr) == (threads > cores())
    assert seen["frozen"] > 10_000
    assert seen["young"] == 10_000


STOPPED = """
import os, signal, sys
import party.node

class Seen:
    def __init__(self, folder, config, stopped):
        os.kill(os.getpid(), signal.SIGTERM)
        self.stopped = stopped
    def run(self):
        print(self.stopped())
    def close(self):
        print("closed")

party.node.PartyNode = Seen
from party.cli import main
sys.argv = ["twokey-party", "run", "-c", sys.argv[1]]
main()
"""


def test_a_party_that_is_stopped_while_it_starts_ends_in_good_order(tmp_path: Path) -> None:
    path = tmp_path / "party.toml"
    config.write_default(PartyConfig, path, {"party": 0})
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()) == (0, ["True", "closed"])
