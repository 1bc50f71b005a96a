"""A short run of the fuzzing: valid encodings, mutated, to every decoder of the table."""

from __future__ import annotations

import json
import random
import struct
import tempfile
import tracemalloc
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError, FormatError, InputError, TwokeyError
from tests.fuzz.mutation import Syntax, join, mutated, of_tree, split
from tests.fuzz.run import main
from tests.fuzz.session import Session
from tests.fuzz.table import NAMES, targets
from tests.fuzz.target import ACCEPTED, Finding, Target, judge, same
from tests.fuzz.world import World, open_world

MOST_MEMORY = 32 << 20
_SPENT = {"rows of an engine journal", "file of an engine journal"}  # it has begun: SlotReused


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="twokey-fuzz-")


@cache
def world() -> World:
    """Made once for all tests of this module."""
    return open_world(Path(_folder().name))


@cache
def table() -> dict[str, Target]:
    """All targets on this world."""
    return targets(world())


def test_the_table_has_the_targets_that_it_names() -> None:
    assert tuple(table()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_valid_encoding_is_accepted(name: str) -> None:
    target = table()[name]
    outcomes = {judge(target, sample) for sample in target.samples}
    assert (ACCEPTED if name not in _SPENT else "SlotReused") in outcomes


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_encoding_is_refused_with_a_typed_error_or_means_what_it_says(
    name: str, rng: random.Random
) -> None:
    target = table()[name]
    judge(target, mutated(rng, target.syntax, rng.choice(target.samples), target.samples))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=10)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_with_a_typed_error_or_mean_what_they_say(
    name: str, data: bytes
) -> None:
    judge(table()[name], data)


def array_header(shape: tuple[int, ...]) -> bytes:
    """A .npy file that says that it holds an array of this shape."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def with_value(name: str, key: str, value: object) -> bytes:
    """A sample of msgpack in which one field has this value."""
    tree = msgpack.unpackb(table()[name].samples[0])
    tree[key] = value
    return bytes(msgpack.packb(tree))


BOMBS: dict[str, tuple[str, Callable[[], bytes], type[InputError]]] = {
    "a list of 2^32 - 1 items": (
        "message between parties",
        lambda: join([b"\xdd\xff\xff\xff\xff" + bytes(100)]),
        FormatError,
    ),
    "lists in lists": (
        "message between parties",
        lambda: join([b"\x91" * 100_000]),
        FormatError,
    ),
    "a batch of 2^32 - 1 faces": (
        "stored batch",
        lambda: bytes(
            msgpack.packb(
                [
                    bytes(32),
                    1,
                    struct.pack("<8sII", bytes(8), 0, 2**32 - 1),
                    ["c"],
                    b"",
                    [],
                    b"",
                    b"",
                ]
            )
        ),
        FormatError,
    ),
    "a material file of 2^64 - 1 slots": (
        "material header",
        lambda: with_value("material header", "slots", 2**64 - 1),
        FormatError,
    ),
    "a matrix of 2^48 elements": (
        "engine header",
        lambda: with_value("engine header", "plan", [[5, 2**24, 2**24, 2**24, 1]]),
        FormatError,
    ),
    "brackets in brackets": (
        "configuration of a party",
        lambda: b"a=" + b"[" * 100_000,
        ConfigError,
    ),
    "an integer of many digits": (
        "configuration of a party",
        lambda: b"party = " + b"9" * 100_000,
        ConfigError,
    ),
    "a configuration file without an end": (
        "configuration of a party",
        lambda: b"#" * (1 << 22),
        ConfigError,
    ),
    "brackets in JSON": ("public identity", lambda: b"[" * 1_000_000, FormatError),
    "2^40 bits of fraction": (
        "configuration of a dealer",
        lambda: b"[parameters]\nfraction_bits = 1099511627776\n",
        InputError,
    ),
    "an array of 2^50 rows": ("arrays to replay", lambda: array_header((2**50, 3)), InputError),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_input_that_claims_much_takes_no_memory(bomb: str) -> None:
    name, make, expected = BOMBS[bomb]
    target, data = table()[name], make()
    tracemalloc.start()
    try:
        with pytest.raises(expected):
            target.check(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["private identity", "private window key"])
@settings(max_examples=60)
@given(rng=st.randoms(use_true_random=False))
def test_errors_of_private_files_show_no_part_of_a_secret(name: str, rng: random.Random) -> None:
    target = table()[name]
    document = json.loads(target.samples[0])
    secrets = [text for field, text in document.items() if "secret" in field]
    assert secrets
    try:
        target.check(of_tree(rng, target.syntax, target.samples[0]))
    except TwokeyError as error:
        shown = f"{error!r} {error}"
        for secret in secrets:
            parts = {secret[at : at + 10] for at in range(len(secret) - 10)}
            assert not any(part in shown for part in parts)


# -- the fuzzing itself ----------------------------------------------------------------


def broken(data: bytes) -> None:
    """A decoder with three faults."""
    if len(data) > 4 and data[0] & 1:
        raise KeyError("missing")
    if len(data) > 4 and data[1] & 1:
        same(data[::-1], data)
    if len(data) > 4 and data[2] & 1:
        raise FormatError("")
    raise FormatError("refused")


def test_faults_of_a_decoder_are_found_and_kept_once(tmp_path: Path) -> None:
    target = Target("broken", broken, (bytes(range(0, 20, 2)),))
    session = Session(target, tmp_path)
    rng = random.Random(1)
    for _ in range(500):
        session.run(mutated(rng, target.syntax, target.samples[0], target.samples))
    kinds = {where.partition(" ")[0] for where in session.found}
    assert kinds == {"KeyError", "Finding"}
    assert session.inputs == 500 == sum(session.outcomes.values())
    kept = list(tmp_path.iterdir())
    assert len(kept) == len(session.found)
    for path in kept:
        with pytest.raises((KeyError, Finding)):
            judge(target, path.read_bytes())


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_frames_are_joined_and_split(frames: list[bytes]) -> None:
    assert split(join(frames)) == frames


@pytest.mark.parametrize(
    ("syntax", "sample"),
    [
        (Syntax.FRAMES, join([msgpack.packb([1, 2, b"abc"]), bytes(32)])),
        (Syntax.ROWS, msgpack.packb({"a": [1, "b", b"c", None]})),
        (Syntax.JSON, json.dumps({"a": [1, "b", 2.5]}).encode()),
        (Syntax.JSON_LINES, b'{"a":1}\n{"b":"c"}\n'),
        (Syntax.TOML, b'a = 1\nb = "c"\n'),
        (Syntax.RAW, bytes(np.arange(40, dtype=np.uint8))),
    ],
)
def test_mutations_differ_and_come_again_from_the_same_seed(syntax: Syntax, sample: bytes) -> None:
    first, again = (
        [mutated(random.Random(seed), syntax, sample, [sample]) for seed in range(200)]
        for _ in range(2)
    )
    assert first == again
    assert len(set(first)) > 60
    assert first.count(sample) < 80


def test_the_command_counts_inputs_and_replays_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, result = tmp_path / "work", tmp_path / "result.json"
    chosen = ["--work", str(work), "--target", "runs"]
    assert main([*chosen, "--inputs", "300", "--engine", "mutation", "--json", str(result)]) == 0
    found = json.loads(result.read_text())
    assert found["inputs"] == 300
    assert found["findings"] == 0
    assert sum(found["targets"][0]["outcomes"].values()) == 300
    (tmp_path / "input").write_bytes(bytes(16))
    assert main([*chosen, "--replay", str(tmp_path / "input")]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "FormatError"
