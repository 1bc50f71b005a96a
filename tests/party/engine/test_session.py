"""A session against a peer that lies, vanishes or differs; and its own rules."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from party.engine import EngineSession, SharedArray, check, is_negative, less_than, multiply, square
from party.engine.arrays import MacKey
from party.engine.material import Material
from shared.engine_messages import (
    CheckCommit,
    CheckSeed,
    EngineHello,
    EngineMessage,
    EngineRefused,
    Shares,
    SigmaCommit,
    SigmaOpen,
    Told,
)
from shared.engine_plan import INPUTS, MASK, SIGN, TRIPLE, client
from shared.errors import (
    FormatError,
    HeaderMismatch,
    InputError,
    MaterialExhausted,
    PeerVanished,
    ProtocolViolation,
    SecurityError,
    SlotReused,
    TamperDetected,
)
from tests.engine_support import Change, Stage, links

X = np.array([5, -6, 7])
COUNTS = {INPUTS[0]: 3, TRIPLE: 9, SIGN: 9, MASK: 12}
BITS_ROUND = 4  # of the rounds of `program`: input, product, output, signs, their bits


def program(session: EngineSession) -> Any:
    """A product, a comparison and an output of each."""
    x = session.input(0, X.shape, X if session.party == 0 else None)
    product = session.run(multiply(x, x))
    first = session.open(product)
    return first, session.open(session.run(less_than(x, product)))


def changed(message: EngineMessage, name: str, bit: int) -> EngineMessage:
    """The message with one bit of a field of bytes flipped, or one number changed."""
    value = getattr(message, name)
    if isinstance(value, int):
        return replaced(message, name, value ^ 1)
    content = bytearray(value)
    position = bit % (8 * len(content))
    content[position // 8] ^= 1 << position % 8
    return replaced(message, name, bytes(content))


def replaced(message: Any, name: str, value: object) -> EngineMessage:
    made: EngineMessage = dataclasses.replace(message, **{name: value})
    return made


def nth(kind: type[EngineMessage], number: int, change: Callable[[Any], Any]) -> Change:
    """Changes the number-th message of a kind."""
    seen = 0

    def act(_: int, message: EngineMessage) -> EngineMessage | None:
        nonlocal seen
        if not isinstance(message, kind):
            return message
        seen += 1
        return change(message) if seen == number + 1 else message

    return act


def attack(stage: Stage, cheater: int, change: Change, deadline: float = 20.0) -> tuple[Any, Any]:
    """The outcome at the honest party and at the cheater."""
    pair: tuple[Change | None, Change | None] = (change, None) if cheater == 0 else (None, change)
    found = stage.run(COUNTS, program, change=pair, deadline=deadline)
    return found[1 - cheater], found[cheater]


SENT = [
    (cheater, kind, field.name, number)
    for cheater in (0, 1)
    for kind, numbers in (
        (EngineHello, (0,)),
        (Shares, (0, 1, 2, 3, 4)),
        (CheckCommit, (0, 1)),
        (CheckSeed, (0, 3)),
        (SigmaCommit, (0, 1)),
        (SigmaOpen, (0, 3)),
    )
    for field in dataclasses.fields(kind)
    for number in numbers
    # In the round of P0's input P1 sends no element.
    if (cheater, kind, field.name, number) != (1, Shares, "elements", 0)
]


@pytest.mark.parametrize(("cheater", "kind", "name", "number"), SENT)
def test_any_changed_field_ends_the_session_without_a_wrong_result(
    stage: Stage, cheater: int, kind: type[EngineMessage], name: str, number: int
) -> None:
    honest, _ = attack(stage, cheater, nth(kind, number, lambda m: changed(m, name, 13)))
    assert isinstance(honest, SecurityError), honest


@pytest.mark.parametrize("bit", [0, 1, 31, 63])
@pytest.mark.parametrize("number", [1, 2, 3, 5, 6, 7])
def test_an_error_in_any_opening_is_detected_before_an_output(
    stage: Stage, number: int, bit: int
) -> None:
    honest, _ = attack(stage, 1, nth(Shares, number, lambda m: changed(m, "elements", bit)))
    assert isinstance(honest, TamperDetected)


@pytest.mark.parametrize("cheater", [0, 1])
@pytest.mark.parametrize("bit", range(9))
def test_a_flipped_bit_of_a_sign_is_detected_before_an_output(
    stage: Stage, cheater: int, bit: int
) -> None:
    """By the MACs: the cheater counts on with another bit than the honest party.

    One that counts on with its lie is found by the tags (tests/adversary/test_engine_tags.py).
    """
    sent: list[EngineMessage] = []

    def listen(_: int, message: EngineMessage) -> EngineMessage:
        sent.append(message)
        return message

    cheat = nth(Shares, BITS_ROUND, lambda m: changed(m, "elements", bit))
    found = stage.run(COUNTS, program, change=(cheat, listen) if cheater == 0 else (listen, cheat))
    honest = found[1 - cheater]
    assert isinstance(honest, TamperDetected)
    assert "check 2: the MAC check failed" in str(honest)
    # Those up to the bits, and of two products: no output of what came of the bits.
    assert sum(isinstance(message, Shares) for message in sent) == BITS_ROUND + 3


@pytest.mark.parametrize("bit", [9, 63, 64, 127])
def test_bits_behind_the_last_sign_end_the_session(stage: Stage, bit: int) -> None:
    change = nth(Shares, BITS_ROUND, lambda m: changed(m, "elements", bit))
    honest, _ = attack(stage, 1, change)
    assert isinstance(honest, ProtocolViolation)
    assert "behind the last of 9" in str(honest)


def test_opened_bits_of_signs_are_the_signs_under_masks_of_their_own(stage: Stage) -> None:
    """Signs of equal numbers are opened as other bits each time, about as often 0 as 1."""
    opened: list[bytes] = []

    def keep(_: int, message: EngineMessage) -> EngineMessage:
        if isinstance(message, Shares) and len(message.elements):
            opened.append(bytes(message.elements))
        return message

    def signs(session: EngineSession) -> Any:
        session.run(is_negative(session.public(np.full(512, -3))))
        session.check()

    stage.right(stage.run({SIGN: 512}, signs, change=(keep, keep)))
    packed = [np.frombuffer(content, dtype=np.uint8) for content in opened if len(content) == 64]
    bits = np.unpackbits(packed[0] ^ packed[1])
    assert 180 < bits.sum() < 332


def test_no_output_share_leaves_before_the_products_are_checked(stage: Stage) -> None:
    """The honest party's messages up to the failed check: rounds of input and product only."""
    sent: list[EngineMessage] = []

    def listen(_: int, message: EngineMessage) -> EngineMessage:
        sent.append(message)
        return message

    cheat = nth(Shares, 1, lambda m: changed(m, "elements", 5))
    honest, _ = stage.run(COUNTS, program, change=(listen, cheat))
    assert isinstance(honest, TamperDetected)
    assert sum(isinstance(message, Shares) for message in sent) == 2


@pytest.mark.parametrize("number", range(12))
@pytest.mark.parametrize("cheater", [0, 1])
def test_a_peer_that_falls_silent_is_named_and_the_session_is_over(
    stage: Stage, cheater: int, number: int
) -> None:
    def silent(at: int, message: EngineMessage) -> EngineMessage | None:
        return None if at >= number or isinstance(message, EngineRefused) else message

    honest, other = attack(stage, cheater, silent, deadline=0.1)
    assert isinstance(honest, PeerVanished)
    assert isinstance(other, Exception)


@pytest.mark.parametrize("change", [lambda e: e[:-16], lambda e: e + bytes(16), lambda e: b""])
def test_too_few_or_too_many_elements_end_the_session(
    stage: Stage, change: Callable[[bytes], bytes]
) -> None:
    def cut(message: Shares) -> Shares:
        return dataclasses.replace(message, elements=change(bytes(message.elements)))

    honest, _ = attack(stage, 1, nth(Shares, 1, cut))
    assert isinstance(honest, ProtocolViolation)
    assert "elements, expected 6" in str(honest)


@pytest.mark.parametrize("number", [2, 3])
def test_a_peer_that_counts_other_openings_is_named(stage: Stage, number: int) -> None:
    def more(message: CheckCommit) -> CheckCommit:
        return dataclasses.replace(message, openings=message.openings + 1)

    honest, _ = attack(stage, 1, nth(CheckCommit, number, more))
    assert isinstance(honest, HeaderMismatch)


def test_a_message_out_of_turn_ends_the_session(stage: Stage) -> None:
    honest, _ = attack(
        stage, 1, nth(Shares, 1, lambda m: SigmaOpen(m.session, 0, bytes(16), bytes(32), bytes(16)))
    )
    assert isinstance(honest, ProtocolViolation)
    assert "found a SigmaOpen, expected a Shares" in str(honest)


def test_a_repeated_message_ends_the_session(stage: Stage) -> None:
    kept: list[EngineMessage] = []

    def repeat(_: int, message: EngineMessage) -> EngineMessage:
        if isinstance(message, Shares):
            kept.append(message)
            return kept[0]
        return message

    honest, _ = attack(stage, 1, repeat)
    assert isinstance(honest, ProtocolViolation)


def test_parties_that_do_different_things_find_out_before_anything_is_opened(
    stage: Stage,
) -> None:
    def differs(session: EngineSession) -> Any:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        return session.run(multiply(x, x) if session.party == 0 else is_negative(x))

    found = stage.run(COUNTS, differs)
    assert all(isinstance(outcome, SecurityError) for outcome in found)
    assert any(isinstance(outcome, HeaderMismatch) for outcome in found)


def test_material_of_two_sessions_does_not_meet(stage: Stage) -> None:
    paths = stage.mint(COUNTS), stage.mint(COUNTS)
    ends = links()
    found: list[Any] = [None, None]

    def work(party: int) -> None:
        try:
            EngineSession(
                ends[party], stage.material(paths[party], party), stage.state(party)
            ).close()
        except Exception as error:  # noqa: BLE001
            found[party] = error

    threads = [threading.Thread(target=work, args=(party,)) for party in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(outcome, SecurityError) for outcome in found)
    assert any(isinstance(outcome, HeaderMismatch) for outcome in found)


def test_a_missing_check_at_the_end_is_an_error(stage: Stage) -> None:
    def careless(session: EngineSession) -> Any:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        session.run(multiply(x, x))
        return session.unchecked

    found = stage.run(COUNTS, careless)
    for outcome in found:
        assert isinstance(outcome, ProtocolViolation)
        assert "6 openings were never checked" in str(outcome)


def test_an_ended_session_does_nothing_any_more(stage: Stage) -> None:
    kept: list[EngineSession] = []

    def ends(session: EngineSession) -> Any:
        kept.append(session)
        assert session.key.alpha.any()
        assert session.key.delta.any()
        return session.input(0, X.shape, X if session.party == 0 else None)

    shared = stage.honest(COUNTS, ends)[0]
    for act in (
        lambda: kept[0].open(shared),
        lambda: kept[0].run(multiply(shared, shared)),
        kept[0].check,
    ):
        with pytest.raises(ProtocolViolation, match="has ended"):
            act()
    for session in kept:
        assert not session.key.alpha.any()
        assert not session.key.delta.any()


def test_mistakes_are_refused_before_anything_is_sent_and_the_session_goes_on(
    stage: Stage,
) -> None:
    def mistaken(session: EngineSession) -> Any:
        before = session.counters.rounds
        mine = X if session.party == 0 else None
        wrong = "found shape" if session.party == 0 else "nowhere else"
        with pytest.raises(InputError, match=wrong):
            session.input(0, (4,), X)
        with pytest.raises(InputError, match="owner"):
            session.input(2, (3,), mine)
        with pytest.raises(MaterialExhausted, match="found 3 items of input:0, expected 4"):
            session.input(0, (4,), np.zeros(4, dtype=np.int64) if mine is not None else None)
        x = session.input(0, X.shape, mine)
        y = session.public(np.zeros(10, dtype=np.int64))
        with pytest.raises(MaterialExhausted, match="found 9 items of triple, expected 10"):
            session.run(multiply(y, y))
        with pytest.raises(InputError, match="at least one"):
            session.open_all([])
        with pytest.raises(InputError, match="another session"):
            session.open(SharedArray(MacKey(0, x.key.alpha, x.key.delta), x.value, x.mac))
        with pytest.raises(MaterialExhausted, match="found 12 items of mask, expected 13"):
            session.open(session.public(np.zeros(13, dtype=np.int64)))
        assert session.counters.rounds == before + 1
        assert dict(session.counters.material) == {INPUTS[0]: 3}
        return session.open(session.run(multiply(x, x)))

    found = stage.honest(COUNTS, mistaken)
    assert np.array_equal(found[0], X * X)
    assert np.array_equal(found[1], X * X)


def test_more_bits_than_one_digest_takes_are_refused_before_anything_is_sent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "BITS_LIMIT", 8)

    def many(session: EngineSession) -> Any:
        x = session.input(0, X.shape, X if session.party == 0 else None)
        signs = session.together(is_negative(x), is_negative(-x))
        rounds = session.counters.rounds
        with pytest.raises(InputError, match="found 9 bits to be opened before it, expected up to"):
            session.run(is_negative(x))
        assert (session.counters.rounds, session.counters.material[SIGN]) == (rounds, 6)
        session.check()
        with pytest.raises(InputError, match="found 9 bits"):
            session.run(less_than(x, x))
        return session.open_all([*signs, session.run(is_negative(x))])

    for found in stage.honest({INPUTS[0]: 3, SIGN: 18, TRIPLE: 6, MASK: 9}, many):
        assert [signs.tolist() for signs in found] == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_programs_tell_each_other_public_bytes_in_a_round_of_their_own(stage: Stage) -> None:
    def tells(session: EngineSession) -> Any:
        with pytest.raises(FormatError, match="found 65537 bytes"):
            session.tell(bytes((1 << 16) + 1))
        first = session.tell(b"I am %d" % session.party)
        return first, session.tell(b""), session.counters.rounds, len(session.id)

    found = stage.honest(COUNTS, tells)
    assert found == ((b"I am 1", b"", 2, 32), (b"I am 0", b"", 2, 32))


@pytest.mark.parametrize("name", ["session", "round"])
def test_a_note_of_another_round_ends_the_session(stage: Stage, name: str) -> None:
    def tells(session: EngineSession) -> bytes:
        return session.tell(b"note")

    change = nth(Told, 0, lambda m: changed(m, name, 13))
    honest, _ = stage.run(COUNTS, tells, change=(None, change))
    assert isinstance(honest, ProtocolViolation)


def test_a_clients_inputs_are_taken_at_their_places_each_once(stage: Stage) -> None:
    paths = stage.mint({client(0): 10, TRIPLE: 4, MASK: 3})
    material = stage.material(paths, 0)
    whole = stage.material(paths, 0).take(client(0), 10).values[0]
    assert np.array_equal(material.take(client(0), 3, 5).values[0], whole[5:8])
    assert np.array_equal(material.take(client(0), 2, 0).values[0], whole[:2])
    for first, count in ((4, 2), (7, 1), (0, 1)):
        with pytest.raises(SlotReused, match="are used"):
            material.take(client(0), count, first)
    with pytest.raises(MaterialExhausted, match="expected 11"):
        material.take(client(0), 2, 9)
    assert material.remaining(client(0)) == 5
    # Without a place, what comes after all that were taken.
    assert np.array_equal(material.take(client(0), 2).values[0], whole[8:])
    with pytest.raises(MaterialExhausted):
        material.take(client(0), 1)
    assert material.take(TRIPLE, 0).count == 0
    material.close()
    with pytest.raises(MaterialExhausted):
        material.take(TRIPLE, 1)


def test_the_tags_of_an_item_are_given_out_once(stage: Stage) -> None:
    """At another point the bit would be opened under the mask that hid it before."""
    material = stage.material(stage.mint({SIGN: 9}), 0)
    first, second = material.take(SIGN, 4), material.take(SIGN, 5)
    points = np.arange(9, dtype=np.uint64)
    later = second.tags(points[4:])
    assert np.unique(np.concatenate([first.tags(points[:4]), later])).size == 9
    for items in (first, second, dataclasses.replace(first, first=3, count=1)):
        with pytest.raises(SlotReused, match=f"tags of sign from {items.first} on are used"):
            items.tags(points[: items.count] ^ np.uint64(1))


def test_an_operation_on_nothing_takes_and_gives_nothing(stage: Stage) -> None:
    def program(session: EngineSession) -> list[Any]:
        x = session.public(np.zeros((0, 3), dtype=np.int64))
        results = session.together(multiply(x, x), square(x), is_negative(x), less_than(x, x))
        return [*session.open_all(results), session.open(x.sum(0)), session.counters.material]

    found, _ = stage.honest(COUNTS, program)
    assert [one.shape for one in found[:4]] == [(0, 3)] * 4
    assert found[4].tolist() == [0, 0, 0]
    assert {kind: count for kind, count in found[5].items() if count} == {MASK: 3}


def test_a_file_begins_one_session_and_never_another(stage: Stage) -> None:
    paths = stage.mint(COUNTS)
    material = stage.material(paths, 0)
    first = links()[0]
    first.deadline = 0.05
    with pytest.raises(PeerVanished):
        EngineSession(first, material, stage.state(0))
    assert isinstance(first.sent[0], EngineHello)
    second = links()[0]
    with pytest.raises(SlotReused, match="never resumed"):
        EngineSession(second, stage.material(paths, 0), stage.state(0))
    assert not any(isinstance(message, EngineHello) for message in second.sent)


def test_a_file_of_the_other_party_is_refused(stage: Stage) -> None:
    paths = stage.mint(COUNTS)
    with pytest.raises(InputError, match="made for p1"):
        Material(stage.material(paths, 1).file, 0)


KILLED = """
import os, signal, sys
from pathlib import Path
from shared import engine_journal
from shared.engine_header import read_engine_header

header = read_engine_header(Path(sys.argv[1])).header
engine_journal.mark_begun(Path(sys.argv[2]), header)
sys.stdout.write("marked")
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_session_killed_after_its_mark_is_spent(stage: Stage) -> None:
    paths = stage.mint(COUNTS)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(paths["p0"]), str(stage.state(0))],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "marked"
    end = links()[0]
    with pytest.raises(SlotReused):
        EngineSession(end, stage.material(paths, 0), stage.state(0))
    assert not any(isinstance(message, EngineHello) for message in end.sent)


def test_opened_bits_above_64_are_random_and_all_128_are_sent(stage: Stage) -> None:
    """The shares of one and the same number add up to another element in every output."""
    elements: dict[int, list[bytes]] = {0: [], 1: []}

    def keep(party: int) -> Change:
        def act(_: int, message: EngineMessage) -> EngineMessage:
            if isinstance(message, Shares) and len(message.elements):
                elements[party].append(bytes(message.elements))
            return message

        return act

    def outputs(session: EngineSession) -> Any:
        x = session.public(X)
        return [session.open(x) for _ in range(4)]

    found = stage.run(COUNTS, outputs, change=(keep(0), keep(1)))
    assert all(np.array_equal(numbers, X) for numbers in found[0])
    highs = set()
    for a, b in zip(elements[0], elements[1], strict=True):
        assert len(a) == len(b) == 48
        total = (int.from_bytes(a[:16], "little") + int.from_bytes(b[:16], "little")) % 2**128
        assert total % 2**64 == 5
        highs.add(total >> 64)
    assert len(highs) == 4
