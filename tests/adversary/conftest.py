"""The count of all attacks, told before the end of a run."""

from __future__ import annotations

import pytest

from tests.adversary.attacks import TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line, before pytest's own closing line."""
    if TALLY["tried"]:
        terminalreporter.write_line(f"attacks: tried {TALLY['tried']}, caught {TALLY['caught']}")
