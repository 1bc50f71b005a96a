"""What the roles write to their logs: everything above info, and what was to be expected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# A restart of a party is told by both, in these ways.
EXPECTED: Final = (
    r"party\.session: window \S+: session ended: the window has ended",
    r"party\.session: window \S+: session ended: this process stops",
    r"party\.session: window \S+: session ended: the peer ended it",
    r"party\.session: window \S+: session ended: P0 began a new session",
    # One party has opened a window that the other is about to open.
    r"party\.session: window \S+: camera \S+: the peer has no material",
)
# Cameras that are faster than the parties have their frames wait.
FLAT_OUT: Final = (
    r"camera\.runner: \d+ bytes wait for the parties, the limit is \d+; frames wait",
)
_LEVEL = re.compile(r"^\S+Z (debug|info|warning|error|critical) (.*)$")
_NUMBERS = re.compile(r"\d+")


class Logbook:
    """Reads logs as they grow. unexpected: lines, by role, that a quiet run does not have.

    also: patterns of what else this run is to have.
    """

    def __init__(self, also: Sequence[str] = ()) -> None:
        self._patterns = (*EXPECTED, *also)
        self._at: dict[Path, int] = {}
        self.expected: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.kinds: Counter[str] = Counter()

    def read(self, who: str, path: Path) -> None:
        """What was added since the last time; half a line waits for its other half."""
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._at.get(path, 0))
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._at[path] = self._at.get(path, 0) + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._line(who, line)

    def _line(self, who: str, line: str) -> None:
        found = _LEVEL.match(line)
        if found is not None and found[1] in ("debug", "info"):
            return
        if found is None and not re.search(r"error|warning|Traceback", line, re.IGNORECASE):
            return  # what a command says to its user
        text = found[2] if found is not None else line
        kind = f"{who}: {_NUMBERS.sub('N', text)}"
        if any(re.match(pattern, text) for pattern in self._patterns):
            self.expected[kind] += 1
            return
        self.kinds[kind] += 1
        if self.kinds[kind] <= 3:
            self.unexpected.append(f"{who}: {line}")
