"""The measurement of constant time: its statistics, and that every kernel is among its objects.

Times themselves are not asserted: `twokey-perf constant-time` measures them (docs/adversary.md).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from party import bitkernels
from perf.constant_time import SURE, Verdict, largest_t, measure, welch_t
from perf.constant_time_kernels import CONTROL, Experiment, experiments
from shared import dcf, engine_flip, engine_fss, engine_ring, engine_sigma, engine_tags, prg, ring

SIZE = 20_000


def times(
    rng: np.random.Generator, extra: float = 0.0
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Like those of a kernel: most near 1000, a tail of interruptions."""
    calls = rng.normal(1000 + extra, 20, SIZE)
    late = rng.random(SIZE) < 0.02
    calls[late] += rng.exponential(50_000, int(late.sum()))
    return calls


def test_equal_times_are_no_difference() -> None:
    rng = np.random.default_rng(1)
    found = [abs(largest_t(times(rng), times(rng))) for _ in range(20)]
    assert max(found) < SURE / 2


def test_a_difference_that_the_tail_hides_is_found_below_a_percentile() -> None:
    rng = np.random.default_rng(2)
    fixed, random = times(rng), times(rng, extra=4.0)
    assert abs(welch_t(fixed, random)) < 4
    assert largest_t(fixed, random) < -SURE


def test_t_is_that_of_welch() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 4.0, 6.0])
    assert welch_t(a, b) == pytest.approx((2.5 - 4) / np.sqrt(5 / 3 / 4 + 4 / 3))
    assert welch_t(np.ones(3), np.ones(4)) == 0


@pytest.mark.parametrize(
    ("t", "control", "expected", "text"),
    [
        (0.5, False, True, "no difference"),
        (-7.0, False, True, "in doubt"),
        (12.0, False, False, "depends on the secret"),
        (-300.0, True, True, "depends on the secret"),
        (9.0, True, False, "in doubt"),
    ],
)
def test_a_kernel_must_show_nothing_and_the_control_something(
    t: float, control: bool, expected: bool, text: str
) -> None:
    verdict = Verdict("x", t, 100.0, control)
    assert (verdict.as_expected, verdict.text) == (expected, text)


def found() -> dict[str, Experiment]:
    return {one.name: one for one in experiments(np.random.default_rng(3))}


def test_fixed_secrets_are_zeros_and_random_ones_are_random() -> None:
    for one in found().values():
        one.place(3, fixed=False)
        assert all(secret.any() for secret in one.secrets), one.name
        before = [secret.copy() for secret in one.secrets]
        one.place(3, fixed=True)
        assert not any(secret.any() for secret in one.secrets), one.name
        one.place(3, fixed=False)
        for secret, was in zip(one.secrets, before, strict=True):
            assert (secret == was).all(), one.name


KERNELS = (
    (dcf, "evaluate"),
    (dcf, "generate"),
    (prg, "expand"),
    (prg, "expand_run"),
    (ring, "public_matrix_product"),
    (ring, "public_product_mod32"),
    (ring, "inner_mac_check"),
    (ring, "add"),
    (ring, "sub"),
    (ring, "mul"),
    (bitkernels, "pack_bits"),
    (bitkernels, "unmask"),
    (engine_fss, "evaluate"),
    (engine_fss, "generate"),
    (engine_tags, "evaluate"),
    (engine_tags, "generate"),
    (engine_flip, "flip_shares"),
    (engine_sigma, "add_to_sigma"),
    (engine_ring, "multiply_shares"),
    (engine_ring, "square_shares"),
    (engine_ring, "matmul"),
    (engine_ring, "scale"),
    (engine_ring, "subtract_scaled"),
    (engine_ring, "add_broadcast"),
    (engine_ring, "total"),
)


def test_each_kernel_is_called_by_an_experiment(monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()
    for module, name in KERNELS:
        inner = getattr(module, name)
        what = f"{module.__name__}.{name}"

        def spy(*args: Any, inner: Any = inner, what: str = what, **kept: Any) -> Any:
            called.add(what)
            return inner(*args, **kept)

        monkeypatch.setattr(module, name, spy)
    for one in found().values():
        one.place(0, fixed=False)
        one.run()
    assert called == {f"{module.__name__}.{name}" for module, name in KERNELS}


def test_a_measurement_places_a_secret_before_every_call() -> None:
    secret = np.zeros(1, dtype=np.uint64)
    pool = np.arange(1, 17, dtype=np.uint64).reshape(16, 1)
    seen: list[int] = []
    one = Experiment("x", (secret,), lambda: seen.append(int(secret[0])), (pool,))
    verdict = measure(one, 4_000, np.random.default_rng(4))
    assert len(seen) == 4_500
    assert set(seen) == set(range(17))
    assert 2_000 < seen.count(0) < 2_500
    assert verdict.nanoseconds > 0
    assert not verdict.control


def test_the_control_is_the_last_and_the_only_one() -> None:
    names = list(found())
    assert names[-1] == CONTROL
    assert names.count(CONTROL) == 1
    assert len(set(names)) == len(names) > 15
