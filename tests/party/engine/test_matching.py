"""The naive formula and the private watchlist against the plaintext, and against the fused path."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from party.engine import EngineSession, input_of_client
from party.engine.matching import match_naively, match_privately, prepare_private
from perf.replay import replay
from shared.engine_client import ClientMasks
from shared.engine_file import EngineFile
from shared.engine_plan import INPUTS, MASK, SIGN, SQUARE, client, fixed, left_of
from shared.errors import (
    HeaderMismatch,
    InputError,
    Locked,
    MaterialExhausted,
    SecurityError,
)
from shared.fixedpoint import plaintext_matches
from tests.engine_support import Stage

I64 = NDArray[np.int64]
COURT, DOOR = client(0), client(1)


def close_pairs(rng: np.random.Generator, faces: int, entries: int, dim: int) -> tuple[I64, I64]:
    """Faces and entries of small integers, many at or around one distance."""
    c = rng.integers(-5, 6, (entries, dim))
    x = c[rng.integers(0, entries, faces)] + rng.integers(-1, 2, (faces, dim))
    return x, c


@pytest.mark.parametrize("threshold", [0, 1, 9, 10, 11, 1 << 40])
def test_the_naive_formula_is_the_plaintext_bit_for_bit(stage: Stage, threshold: int) -> None:
    x, c = close_pairs(np.random.default_rng(threshold % 97), 6, 5, 16)

    def program(session: EngineSession) -> I64:
        faces = session.input(0, x.shape, x if session.party == 0 else None)
        operation = match_naively(faces, c, threshold)
        assert (operation.cost.rounds, operation.cost.bytes) == (3, (30 * 17 + 1) * 32)
        before = session.counters.bytes
        bits = session.run(operation)
        assert session.counters.bytes - before == operation.cost.bytes
        return session.open(bits)

    counts = {INPUTS[0]: x.size, SQUARE: 30 * 16, SIGN: 30, MASK: 30}
    found, _ = stage.honest(counts, program)
    assert np.array_equal(found, plaintext_matches(x, c, threshold))


def test_the_fused_matching_gives_the_bits_of_the_naive_formula(
    stage: Stage, tmp_path: Path
) -> None:
    """Distances around the threshold, through mint, prepare and match of the whole stack."""
    scale, threshold = 1 << 12, 0.09
    rng = np.random.default_rng(7)
    entries = rng.normal(size=(3, 8)) / 8
    faces = entries[[0, 1, 2, 0]] + 0.3 * np.eye(4, 8) + rng.normal(size=(4, 8)) / 5000
    bits, report = replay(faces, entries, threshold, fraction_bits=12, workdir=tmp_path)
    assert report["mismatches"] == 0
    x, c = (np.rint(a * scale).astype(np.int64) for a in (faces, entries))

    def program(session: EngineSession) -> I64:
        shared = session.input(1, x.shape, x if session.party == 1 else None)
        return session.open(session.run(match_naively(shared, c, round(threshold * scale**2))))

    counts = {INPUTS[1]: x.size, SQUARE: 12 * 8, SIGN: 12, MASK: 12}
    found, _ = stage.honest(counts, program)
    assert np.array_equal(found, bits)
    assert 0 < found.sum() < found.size


def masks(stage: Stage, paths: dict[str, Path], number: int) -> ClientMasks:
    file = EngineFile.open(
        paths[f"client-{number}"],
        dealer=stage.dealer.public,
        window_key=stage.clients[number].private,
    )
    state = stage.folder / f"client-state-{number}"
    state.mkdir(exist_ok=True)
    return ClientMasks(file, state)


def private_counts(entries: int, dim: int, faces: int) -> dict:  # type: ignore[type-arg]
    return {
        COURT: entries * dim,
        DOOR: faces * (dim + 1),
        left_of(fixed(entries, dim)): 1,
        fixed(entries, dim): faces,
        SQUARE: entries * dim,
        SIGN: faces * entries,
        MASK: faces * entries,
    }


@pytest.mark.parametrize("threshold", [0, 9, 10, 11])
def test_entries_and_faces_that_no_party_sees_are_matched(stage: Stage, threshold: int) -> None:
    x, c = close_pairs(np.random.default_rng(threshold), 7, 5, 16)
    paths = stage.mint(private_counts(5, 16, 7))
    with masks(stage, paths, 0) as court, masks(stage, paths, 1) as door:
        watchlist = court.mask(c)
        # A camera sends coordinates and squared norm, as in the fused matching.
        faces = [door.mask(np.append(face, (face**2).sum())) for face in x]

    def program(session: EngineSession) -> I64:
        entries = session.run(input_of_client(0, c.shape, watchlist))
        ready = session.run(prepare_private(entries, threshold))
        bits = []
        for some in (faces[:3], faces[3:]):
            shared = session.run(input_of_client(1, (len(some), 17), np.concatenate(some)))
            operation = match_privately(ready, shared[:, :16], shared[:, 16])
            before = session.counters.bytes
            bits.append(session.run(operation))
            assert session.counters.bytes - before == operation.cost.bytes
        return np.concatenate(session.open_all(bits))

    found, same = stage.right(stage.act(paths, program))
    assert np.array_equal(found, plaintext_matches(x, c, threshold))
    assert np.array_equal(same, found)


def test_parties_that_got_different_entries_find_out(stage: Stage) -> None:
    paths = stage.mint({COURT: 4, MASK: 4})
    with masks(stage, paths, 0) as court:
        sent = court.mask(np.arange(4))

    def program(session: EngineSession) -> I64:
        mine = sent.copy()
        mine[2, 0] += np.uint64(session.party)
        return session.open(session.run(input_of_client(0, (4,), mine)))

    found = stage.act(paths, program)
    assert all(isinstance(outcome, SecurityError) for outcome in found)
    assert any(isinstance(outcome, HeaderMismatch) for outcome in found)


def test_a_clients_masks_serve_once_also_after_a_restart(stage: Stage) -> None:
    paths = stage.mint({COURT: 40_000, MASK: 4})
    with masks(stage, paths, 0) as court:
        first, second = court.mask(np.zeros(35_000, dtype=np.int64)), court.mask(np.zeros(9, int))
        assert (court.position, court.remaining) == (35_009, 40_000 - 35_009)
        with pytest.raises(MaterialExhausted, match="expected 5000"):
            court.mask(np.zeros(5000, dtype=np.int64))
        with pytest.raises(InputError, match="int64"):
            court.mask(np.zeros(1))  # type: ignore[arg-type]
        with pytest.raises(Locked):
            masks(stage, paths, 0)
    with pytest.raises(MaterialExhausted):
        court.mask(np.zeros(1, dtype=np.int64))
    with masks(stage, paths, 0) as court:
        assert court.position == 35_009
        third = court.mask(np.zeros(4_991, dtype=np.int64))
        assert court.remaining == 0
    assert len(np.unique(np.concatenate([first, second, third]), axis=0)) == 40_000


KILLED = """
import os, signal, sys
from pathlib import Path
from shared.engine_header import read_engine_header
from shared.engine_journal import MaskJournal

MaskJournal(Path(sys.argv[2])).advance(read_engine_header(Path(sys.argv[1])).header, 77)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_masks_of_a_client_killed_after_its_mark_are_not_used_again(stage: Stage) -> None:
    paths = stage.mint({COURT: 100, MASK: 4})
    state = stage.folder / "client-state-0"
    state.mkdir(exist_ok=True)
    command = [sys.executable, "-c", KILLED, str(paths["client-0"]), str(state)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3])
    assert done.returncode == -signal.SIGKILL
    with masks(stage, paths, 0) as court:
        assert court.position == 77


def test_a_partys_file_is_no_clients(stage: Stage) -> None:
    paths = stage.mint({COURT: 1, MASK: 4})
    with pytest.raises(InputError, match="is a party's"):
        ClientMasks(stage.material(paths, 0).file, stage.state(0))


def test_shapes_that_do_not_fit_are_refused(stage: Stage) -> None:
    def program(session: EngineSession) -> None:
        x = session.public(np.zeros((2, 3), dtype=np.int64))
        with pytest.raises(InputError, match="matching"):
            match_naively(x, np.zeros((2, 4), dtype=np.int64), 1)
        with pytest.raises(InputError, match="watchlist"):
            prepare_private(x[0], 1)
        with pytest.raises(InputError, match="client input"):
            input_of_client(0, (2,), np.zeros((3, 2), dtype=np.uint64))

    stage.honest({MASK: 1}, program)
