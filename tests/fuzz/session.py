"""Many inputs to one target: what they ended in, and each kind of finding once, in a file."""

from __future__ import annotations

import hashlib
import signal
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.target import Target, judge

SECONDS_AN_INPUT = 20
_OWN = f"{Path(__file__).parent}/"


class TooLong(BaseException):
    """An input took longer than it may."""


@dataclass
class Session:
    """Counts of one target. findings: where inputs that are findings are kept."""

    target: Target
    findings: Path
    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    found: dict[str, str] = field(default_factory=dict)

    def run(self, data: bytes) -> None:
        """Judges one input; what it raises is kept, never raised."""
        self.inputs += 1
        try:
            self.outcomes[judge(self.target, data)] += 1
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001
            self._keep(data, error)

    def report(self) -> dict[str, Any]:
        """For the table, and as JSON."""
        return {
            "target": self.target.name,
            "inputs": self.inputs,
            "outcomes": dict(self.outcomes.most_common()),
            "findings": self.found,
        }

    def _keep(self, data: bytes, error: BaseException) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        last = next((f for f in reversed(frames) if not f.filename.startswith(_OWN)), frames[-1])
        where = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
        self.outcomes["finding"] += 1
        if where in self.found:
            return
        name = f"{self.target.name.replace(' ', '-')}-{hashlib.sha256(data).hexdigest()[:12]}"
        self.findings.mkdir(parents=True, exist_ok=True)
        (self.findings / name).write_bytes(data)
        self.found[where] = f"{name}: {error!s:.200}"


def limit_time() -> None:
    """From now on `tick` limits the time of an input."""
    signal.signal(signal.SIGALRM, _too_long)


def tick() -> None:
    """The time of the next input begins."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS_AN_INPUT)


def _too_long(_: int, __: FrameType | None) -> None:
    raise TooLong(f"more than {SECONDS_AN_INPUT} s")
