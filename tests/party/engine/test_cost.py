"""What an operation declares is what a session counts: rounds, bytes, material."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from party.engine import (
    EngineSession,
    SharedArray,
    argmin,
    compare_bits,
    compare_dcf,
    dot,
    equal,
    less_than,
    matmul,
    multiply,
    select,
    square,
    truncate,
)
from party.engine.inputs import input_of
from party.engine.operation import Cost, Operation
from shared.engine_plan import INPUTS, MASK, TRIPLE
from tests.engine_support import Stage

X = np.arange(12).reshape(3, 4)
BITS = 32  # up to 128 bits take an element of each party
COSTS: dict[str, tuple[Callable[[SharedArray], Operation[Any]], tuple[int, int]]] = {
    # Rounds and bytes as the documentation states them.
    "multiply": (lambda x: multiply(x, x), (1, 12 * 64)),
    "square": (square, (1, 12 * 32)),
    "dot": (lambda x: dot(x, x), (1, 12 * 64)),
    "matmul": (lambda x: matmul(x, x.transpose()), (1, 24 * 32)),
    "is_negative": (compare_dcf.is_negative, (2, 12 * 32 + BITS)),
    "is_negative by bits": (compare_bits.is_negative, (8, 12 * 7712)),
    "less_than": (lambda x: less_than(x, x), (4, 12 * (3 * 32 + 2 * 64) + BITS)),
    "equal": (lambda x: equal(x, x), (1, 12 * 32)),
    "select": (lambda x: select(x, x, x), (1, 12 * 64)),
    "truncate": (lambda x: truncate(x, 9), (1, 12 * 32)),
    "argmin": (argmin, (10, 9 * (3 * 32 + 2 * 64) + 18 * 64 + 2 * BITS)),
}


@pytest.mark.parametrize("name", COSTS)
def test_an_operation_costs_what_it_declares(stage: Stage, name: str) -> None:
    make, (rounds, size) = COSTS[name]
    declared: list[Cost] = []

    def program(session: EngineSession) -> Any:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        before = session.counters.rounds, session.counters.bytes
        operation = make(x)
        declared.append(operation.cost)
        session.run(operation)
        session.check()
        after = session.counters
        return after.rounds - before[0], after.bytes - before[1], dict(after.material)

    zeros = SharedArray(None, *np.zeros((2, 3, 4, 2), dtype=np.uint64))  # type: ignore[arg-type]
    material = dict(make(zeros).cost.material)
    found = stage.honest(material | {INPUTS[0]: 12}, program)
    for party in found:
        assert party == (rounds, size, material | {INPUTS[0]: 12})
    assert all((cost.rounds, cost.bytes) == (rounds, size) for cost in declared)


def test_operations_side_by_side_share_their_rounds(stage: Stage) -> None:
    def program(session: EngineSession) -> tuple[int, int]:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        operations = [less_than(x, x), multiply(x, x), equal(x, x)]
        cost = Cost().beside(*(operation.cost for operation in operations))
        before = session.counters.rounds
        session.together(*operations)
        session.check()
        return session.counters.rounds - before, cost.rounds

    zeros = SharedArray(None, *np.zeros((2, 3, 4, 2), dtype=np.uint64))  # type: ignore[arg-type]
    cost = less_than(zeros, zeros).cost.beside(
        multiply(zeros, zeros).cost, equal(zeros, zeros).cost
    )
    found, _ = stage.honest(dict(cost.material) | {INPUTS[0]: 12}, program)
    assert found == (4, 4)


def test_an_input_and_an_output_cost_what_they_declare(stage: Stage) -> None:
    def program(session: EngineSession) -> tuple[int, int, int]:
        given = X if session.party == 1 else None
        operation = input_of(session.party, 1, X.shape, given)
        x = session.run(operation)
        assert (operation.cost.rounds, operation.cost.bytes) == (1, 12 * 16)
        assert session.counters.bytes == 12 * 16
        session.open(session.run(multiply(x, x)))
        counted = session.counters
        return counted.rounds, counted.bytes, counted.checks

    found, _ = stage.honest({INPUTS[1]: 12, MASK: 12, TRIPLE: 12}, program)
    assert found == (3, 12 * (16 + 64 + 32), 2)
