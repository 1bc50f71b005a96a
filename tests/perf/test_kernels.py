"""The kernel benchmark runs what it says."""

from __future__ import annotations

from perf import kernels


def test_every_step_runs_and_is_measured() -> None:
    for name, (run, units, _) in kernels.steps(faces=2).items():
        middle, least, greatest = kernels.measure(run, units, runs=3)
        assert 0 < least <= middle <= greatest, name
