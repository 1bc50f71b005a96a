"""How many CPU cores there are for this process."""

from __future__ import annotations

import os


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0))
