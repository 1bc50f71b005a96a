"""The engine's material: every relation holds, every MAC is right, both files from one call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dealer.engine_job import EngineOrder, mint_engine
from dealer.folderlock import FolderLock
from shared import engine_ring, ring
from shared.engine_file import EngineFile
from shared.engine_plan import (
    DECOMPOSED,
    INPUTS,
    MASK,
    SIGN,
    SQUARE,
    TRIPLE,
    ZERO,
    Family,
    Kind,
    client,
    matmul,
    plan,
    truncation,
)
from shared.errors import AuthenticationFailed, ConfigError, InputError, Locked
from tests.engine_support import Stage, make_stage

U64 = NDArray[np.uint64]
FIXED, LEFT = Kind(Family.FIXED, 3, 4), Kind(Family.FIXED_LEFT, 3, 4)
KINDS = (
    MASK,
    *INPUTS,
    TRIPLE,
    SQUARE,
    DECOMPOSED,
    SIGN,
    ZERO,
    truncation(12),
    client(0),
    matmul(2, 3, 2),
    FIXED,
)
COUNTS = dict.fromkeys(KINDS, 50) | {LEFT: 1, TRIPLE: 9000}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return make_stage(tmp_path_factory.mktemp("mint"))


@pytest.fixture(scope="module")
def paths(stage: Stage) -> dict[str, Path]:
    return stage.mint(COUNTS)


def elements(stage: Stage, paths: dict[str, Path], kind: Kind, skip: int, count: int) -> U64:
    """All elements of some items, (elements, count, 2), after their MACs were verified."""
    taken = []
    alphas = []
    for party in (0, 1):
        material = stage.material(paths, party)
        if skip:
            material.take(kind, skip)
        items = material.take(kind, count)
        taken.append((np.array(items.values), np.array(items.macs)))
        alphas.append(material.key.alpha.copy())
        material.close()
    value = ring.add(taken[0][0], taken[1][0])
    mac = ring.add(taken[0][1], taken[1][1])
    assert np.array_equal(mac, engine_ring.scale(value, ring.add(*alphas)))
    return np.ascontiguousarray(value[0].swapaxes(0, 1)) if kind.wide else value


@pytest.mark.parametrize("kind", [*KINDS, LEFT], ids=str)
def test_shares_and_macs_fit_and_items_do_not_repeat(
    stage: Stage, paths: dict[str, Path], kind: Kind
) -> None:
    found = elements(stage, paths, kind, 0, COUNTS[kind])
    assert found.shape == (kind.elements, COUNTS[kind], 2)
    uniform = found[: kind.uniform].reshape(-1, 2)
    assert len(np.unique(uniform, axis=0)) == len(uniform)


def test_triples_and_squares_are_products_across_chunks(
    stage: Stage, paths: dict[str, Path]
) -> None:
    a, b, c = elements(stage, paths, TRIPLE, 8000, 900)
    assert np.array_equal(c, ring.mul(np.ascontiguousarray(a), np.ascontiguousarray(b)))
    a, c = elements(stage, paths, SQUARE, 3, 40)
    assert np.array_equal(c, ring.mul(np.ascontiguousarray(a), np.ascontiguousarray(a)))


def test_matrix_products_and_products_with_the_fixed_matrix_are_products(
    stage: Stage, paths: dict[str, Path]
) -> None:
    found = elements(stage, paths, matmul(2, 3, 2), 1, 20).swapaxes(0, 1)
    left, right = found[:, :6].reshape(20, 2, 3, 2), found[:, 6:12].reshape(20, 3, 2, 2)
    product = engine_ring.matmul(np.ascontiguousarray(left), np.ascontiguousarray(right))
    assert np.array_equal(product, found[:, 12:].reshape(20, 2, 2, 2))
    matrix = elements(stage, paths, LEFT, 0, 1).reshape(1, 3, 4, 2)
    found = elements(stage, paths, FIXED, 7, 30).swapaxes(0, 1)
    vectors = np.ascontiguousarray(found[:, :4]).reshape(30, 4, 1, 2)
    product = engine_ring.matmul(matrix, vectors)
    assert np.array_equal(product, found[:, 4:].reshape(30, 3, 1, 2))


def test_bits_are_bits_and_both_values_occur(stage: Stage, paths: dict[str, Path]) -> None:
    found = elements(stage, paths, DECOMPOSED, 0, 50)
    assert not found[..., 1].any()
    assert set(found[..., 0].ravel().tolist()) == {0, 1}
    assert 0.4 < found[..., 0].mean() < 0.6


def test_tags_of_signs_are_delta_times_the_comparison_under_the_dealt_bit(
    stage: Stage, paths: dict[str, Path]
) -> None:
    mask, hidden = elements(stage, paths, SIGN, 0, 50)
    assert not hidden[:, 1].any()
    assert set(hidden[:, 0].tolist()) == {0, 1}
    low, top = mask[:, 0] & np.uint64((1 << 63) - 1), mask[:, 0] >> np.uint64(63)
    points = low - np.arange(50, dtype=np.uint64) % np.uint64(3)  # below, and the point itself
    joined, delta = np.zeros(50, dtype=np.uint64), np.uint64(0)
    for party in (0, 1):
        material = stage.material(paths, party)
        joined ^= material.take(SIGN, 50).tags(points)
        delta ^= material.key.delta[0]
        material.close()
    bits = top ^ (points < low).astype(np.uint64) ^ hidden[:, 0]
    assert delta & np.uint64(1)
    assert np.array_equal(joined, bits * delta)


def test_truncated_masks_are_the_low_words_shifted(stage: Stage, paths: dict[str, Path]) -> None:
    mask, shifted = elements(stage, paths, truncation(12), 0, 50)
    assert np.array_equal(shifted[:, 0], mask[:, 0] >> np.uint64(12))
    assert not shifted[:, 1].any()


@pytest.mark.parametrize("owner", [0, 1])
def test_an_owner_knows_its_input_masks_and_the_other_party_has_nothing(
    stage: Stage, paths: dict[str, Path], owner: int
) -> None:
    other = stage.material(paths, 1 - owner).take(INPUTS[owner], 50)
    assert not other.values[0].any()
    own = stage.material(paths, owner).take(INPUTS[owner], 50)
    assert own.values[0].any()
    assert np.array_equal(own.values[0], elements(stage, paths, INPUTS[owner], 0, 50)[0])


def test_the_client_gets_the_masks_themselves(stage: Stage, paths: dict[str, Path]) -> None:
    with EngineFile.open(
        paths["client-0"], dealer=stage.dealer.public, window_key=stage.clients[0].private
    ) as file:
        stream = file.header.streams()[0]
        buffer = np.empty(stream.step * stream.item_bytes, dtype=np.uint8)
        masks = file.read_chunk(stream, 0, buffer).view(np.uint64).reshape(-1, 2)
    assert np.array_equal(masks, elements(stage, paths, client(0), 0, 50)[0])


def test_the_same_randomness_gives_the_same_chunks(stage: Stage, tmp_path: Path) -> None:
    fixed = bytes(range(176))
    order = EngineOrder(
        plan({TRIPLE: 5, SIGN: 20}), "same", stage.parties[0].public, stage.parties[1].public
    )
    made = [
        mint_engine(order, stage.dealer, tmp_path / name, workers=workers, random=lambda _: fixed)
        for name, workers in (("a", 1), ("b", 2))
    ]
    sums = []
    for paths in made:
        items = stage.material({"p1": paths["p1"]}, 1).take(TRIPLE, 5)
        sums.append(np.array([*items.values, *items.macs]))
    assert np.array_equal(sums[0], sums[1])


def test_an_order_whose_parts_do_not_fit_is_refused(stage: Stage, tmp_path: Path) -> None:
    p0, p1 = (recipient.public for recipient in stage.parties)
    court = stage.clients[0].public
    with pytest.raises(AuthenticationFailed, match="expected one of p0"):
        EngineOrder(plan({TRIPLE: 1}), "x", p1, p0)
    with pytest.raises(InputError, match="go together"):
        EngineOrder(plan({TRIPLE: 1}), "x", p0, p1, (court,))
    with pytest.raises(InputError, match="go together"):
        EngineOrder(plan({client(0): 1}), "x", p0, p1)
    with pytest.raises(InputError, match="session"):
        EngineOrder(plan({TRIPLE: 1}), "../x", p0, p1)
    order = EngineOrder(plan({TRIPLE: 1}), "x", p0, p1)
    mint_engine(order, stage.dealer, tmp_path)
    with pytest.raises(ConfigError, match="exists already"):
        mint_engine(order, stage.dealer, tmp_path)


@pytest.mark.parametrize("survives", [0, 1, 2, 3])
def test_a_failed_job_leaves_nothing_behind(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survives: int
) -> None:
    """Both files are synced, then both folders."""
    left = [survives]

    def failing(sync: Callable[[int], None]) -> Callable[[int], None]:
        def fail(handle: int) -> None:
            if left[0] == 0:
                raise OSError(28, "No space left on device")
            left[0] -= 1
            sync(handle)

        return fail

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))
    order = EngineOrder(plan({TRIPLE: 1}), "x", stage.parties[0].public, stage.parties[1].public)
    with pytest.raises(Exception, match="no space left"):
        mint_engine(order, stage.dealer, tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]


KILLED = """
import os, signal, sys
from collections.abc import Callable
from pathlib import Path
from dealer.engine_job import EngineOrder, mint_engine
from dealer.folderlock import FolderLock
from shared.engine_plan import TRIPLE, client, plan
from shared.reservedfile import ReservedFile
from tests.engine_support import make_stage

folder = Path(sys.argv[1])
stage = make_stage(folder / "keys")
order = EngineOrder(
    plan({TRIPLE: 5, client(0): 3}),
    "x",
    stage.parties[0].public,
    stage.parties[1].public,
    (stage.clients[0].public,),
)
for name, nth in [("write", 2), ("finish", 2), ("commit", 1), ("commit", 2), ("commit", 3),
                  ("sync", 1)]:
    child = os.fork()
    if child == 0:
        real, calls = getattr(ReservedFile, name), [0]

        def dying(self, *arguments):
            calls[0] += 1
            if calls[0] == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, *arguments)

        setattr(ReservedFile, name, dying)
        try:
            mint_engine(order, stage.dealer, folder / f"{name}-{nth}")
        finally:
            os._exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = sorted(p.name for p in (folder / f"{name}-{nth}").rglob("*.tke"))
    try:
        mint_engine(order, stage.dealer, folder / f"{name}-{nth}")
        again = "made"
    except Exception as error:
        again = type(error).__name__
    found = sorted(p.name for p in (folder / f"{name}-{nth}").rglob("*") if p.is_file())
    print(f"{name} {nth}|{code}|{len(left)}|{again}|{' '.join(found)}")
"""


def test_a_job_killed_anywhere_is_run_again_under_its_own_name(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    lines = [line.split("|") for line in done.stdout.splitlines()]
    whole = ".lock x.tke x.tke x.tke"
    killed = str(-signal.SIGKILL)
    assert lines == [
        ["write 2", killed, "0", "made", whole],
        ["finish 2", killed, "0", "made", whole],
        ["commit 1", killed, "0", "made", whole],
        ["commit 2", killed, "1", "made", whole],
        ["commit 3", killed, "2", "made", whole],
        ["sync 1", killed, "3", "ConfigError", whole],
    ], done.stderr


def test_a_second_job_in_the_folder_is_refused(stage: Stage, tmp_path: Path) -> None:
    order = EngineOrder(plan({TRIPLE: 1}), "x", stage.parties[0].public, stage.parties[1].public)
    with (
        FolderLock(tmp_path / order.p0.window.id),
        pytest.raises(Locked, match="another job is minting"),
    ):
        mint_engine(order, stage.dealer, tmp_path)
