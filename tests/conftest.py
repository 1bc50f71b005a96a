"""Settings of the whole suite, how it is shared out over workers, and the count of all attacks."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.adversary.attacks import TALLY

# A busy machine is no failure; continuous integration repeats the same examples.
settings.register_profile("twokey", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("twokey"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "twokey")

# These start processes that have deadlines: one after the other, whatever else runs.
_PROCESSES = (
    "adversary/test_cheating_process.py",
    "adversary/test_files.py",
    "adversary/test_strangers.py",
    "camera/test_end_to_end.py",
    "perf/test_counts.py",
    "perf/test_demo.py",
    "processes/",
    "test_engine_example.py",
    "test_quickstart.py",
)


class _Workers(LoadScopeScheduling):  # type: ignore[misc]
    """All tests of a file run in one worker, and all that start processes in one worker too."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0].removeprefix("tests/")
        return "processes" if file.startswith(_PROCESSES) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _Workers:
    """How tests are shared out over workers."""
    return _Workers(config, log)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its count of attacks over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["attacks"] = dict(TALLY)


def pytest_testnodedown(node: Any) -> None:
    """Takes a worker's count in; one that died has none."""
    for what, count in getattr(node, "workeroutput", {}).get("attacks", {}).items():
        TALLY[what] += count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, before pytest's own closing line."""
    if TALLY["tried"]:
        terminalreporter.write_line(f"attacks: tried {TALLY['tried']}, caught {TALLY['caught']}")
