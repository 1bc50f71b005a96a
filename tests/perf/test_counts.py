"""What must not grow unseen: bytes, messages, material and AES blocks of a face."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perf.costs import ROUNDS_BATCH, ROUNDS_CHECK, Costs
from perf.kernels import PARAMETERS
from perf.measure import Measured, Setting, measure
from perf.workload import random_workload
from tests.reference import blocks, dcf, mint
from tests.reference.samples import material_set

FACES = 300
FACES_PER_MESSAGE = 64
CAMERA_MESSAGES = -(-FACES // FACES_PER_MESSAGE)
FILE_OVERHEAD = 4096
CHUNK_OVERHEAD = 0.001  # tags, of the content


@pytest.fixture(scope="module")
def measured() -> Measured:
    """A real run of the stack at N = 150, d = 128."""
    work = random_workload(FACES, 150, 128)
    return measure(work, Setting(faces_per_message=FACES_PER_MESSAGE))


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs(random_workload(1, 150, 128).params)


def test_every_bit_of_the_run_is_the_plaintexts(measured: Measured) -> None:
    assert measured.mismatches == 0


def test_a_face_takes_its_bit_shares_online_and_little_more(
    measured: Measured, costs: Costs
) -> None:
    batches = measured.wire_messages["online"] // ROUNDS_BATCH
    overhead = measured.wire_bytes["online"] - FACES * costs.online_bytes
    assert 0 < overhead <= 800 * batches


def test_a_batch_is_four_messages(measured: Measured) -> None:
    assert measured.wire_messages["online"] % ROUNDS_BATCH == 0
    assert measured.wire_messages["online"] <= ROUNDS_BATCH * CAMERA_MESSAGES


def test_a_check_is_five_messages(measured: Measured) -> None:
    assert measured.wire_messages["prepare"] % ROUNDS_CHECK == 0
    assert measured.wire_messages["prepare"] <= ROUNDS_CHECK * 10


def test_a_face_takes_its_kappa_shares_to_prepare_and_little_more(
    measured: Measured, costs: Costs
) -> None:
    checks = measured.wire_messages["prepare"] // ROUNDS_CHECK
    overhead = measured.wire_bytes["prepare"] - FACES * costs.prepare_bytes
    assert 0 < overhead <= 1_900 * checks


def test_a_camera_sends_its_masked_faces_and_little_more(measured: Measured, costs: Costs) -> None:
    overhead = measured.camera_bytes - FACES * costs.camera_bytes
    assert 0 < overhead <= 2 * 128 * CAMERA_MESSAGES


@pytest.mark.parametrize("party", [0, 1])
def test_a_party_gets_its_corrections_and_little_more(
    measured: Measured, costs: Costs, party: int
) -> None:
    content = costs.material_bytes(party)
    overhead = measured.material[f"p{party}"] - content
    assert 0 < overhead <= content * CHUNK_OVERHEAD + FILE_OVERHEAD / FACES


def test_a_camera_gets_a_few_kilobytes_a_set(measured: Measured) -> None:
    assert 0 < measured.material["camera"] * FACES <= FILE_OVERHEAD


def test_the_costs_at_the_goals_conditions_are_these(costs: Costs) -> None:
    assert costs.params.n == 29
    assert costs.online_bytes == 38
    assert costs.prepare_bytes == 4_800
    assert costs.camera_bytes == 1_048
    assert [costs.material_bytes(party) for party in (0, 1)] == [98_400, 102_864]
    assert costs.dcf_blocks_comparison == 53
    assert costs.dcf_blocks_match == 7_950
    assert costs.prg_blocks_match == 151
    assert [costs.prg_blocks_prepare(party) for party in (0, 1)] == [592, 313]


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> set[tuple[Any, ...]]:
    """All different arguments that a function of the reference is called with from now on."""
    seen: set[tuple[Any, ...]] = set()
    original: Callable[..., int] = getattr(module, name)

    def note(*args: Any) -> int:
        seen.add(args)
        return original(*args)

    monkeypatch.setattr(module, name, note)
    return seen


def test_the_dcf_blocks_are_those_of_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = Costs(PARAMETERS)
    bits = costs.params.low_bits
    key, roots = bytes(range(16)), (4 << 100, 8 << 100)
    words = dcf.generate(bits, key, roots, 12345, 1, 2)
    seen = counted(monkeypatch, dcf, "g")
    dcf.evaluate(bits, key, 1, roots[1], words, 54321)
    unused_half_of_the_leaf = 1
    assert len(seen) - unused_half_of_the_leaf == costs.dcf_blocks_comparison


@pytest.mark.parametrize("party", [0, 1])
def test_the_expanded_blocks_are_those_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, party: int
) -> None:
    p = PARAMETERS
    costs = Costs(p)
    params = mint.Params(
        p.dim,
        p.fraction_bits,
        p.headroom_bits,
        p.places,
        p.threshold,
        p.face_bound,
        p.entry_bound,
        p.model,
    )
    drawn = counted(monkeypatch, mint, "block")
    limbs = counted(monkeypatch, blocks, "block")
    mint.expand(params, material_set("gate"), 7, party)
    assert len(drawn | limbs) == costs.prg_blocks_prepare(party) + costs.prg_blocks_match
