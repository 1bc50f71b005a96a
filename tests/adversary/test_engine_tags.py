"""A party that lies about an opened bit of a sign, and counts on with its lie.

Then both parties hold the same bit, and values and MACs that fit each other: what they do not have
alike is the tags of the bit. Without the check of these the attacks succeed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgpack
import numpy as np
import pytest
from numpy.typing import NDArray

from party.engine import EngineSession, exchange, is_negative
from party.engine.check import CheckName
from shared.engine_messages import (
    ENGINE_CODEC,
    CheckCommit,
    CheckSeed,
    EngineMessage,
    Shares,
    SigmaCommit,
    SigmaOpen,
)
from shared.engine_plan import INPUTS, MASK, SIGN
from shared.errors import FormatError, TamperDetected
from shared.hashing import digest
from tests.adversary.attacks import attack, flipped
from tests.engine_support import QueueLink, Stage, make_stage

U64 = NDArray[np.uint64]

COUNTS = {INPUTS[0]: 3, SIGN: 3, MASK: 3}
X = np.array([5, -6, 7], dtype=np.int64)
RIGHT = [0, 1, 0]
WRONG = [1, 1, 0]  # the first bit is flipped
BEFORE_OUTPUT = 3  # rounds of `signs`: input, z, bits

both = pytest.mark.parametrize("cheater", [0, 1])


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return make_stage(tmp_path_factory.mktemp("tags"))


def signs(session: EngineSession) -> list[int]:
    """What an honest program does: signs of P0's numbers, opened."""
    x = session.input(0, X.shape, X if session.party == 0 else None)
    found: list[int] = session.open(session.run(is_negative(x))).tolist()
    return found


class Liar(EngineSession):
    """Sends its share of the first bit flipped, and counts on with the flipped bit."""

    def _open_bits(self, tags: U64, own: U64 | None, found: U64) -> U64:
        assert own is not None
        own[0, 0] ^= np.uint64(1)
        return super()._open_bits(tags, own, found)


class Copier(Liar):
    """Speaks last in a check, and opens the honest digest of tags in place of its own."""

    def check(self) -> None:
        """As an honest party's, but for the order of messages and what `answer` makes of them."""
        peer, link = self._exchange, self._link
        number = self.counters.checks
        name = CheckName(peer.session, number, self._log.count)
        seed, seed_nonce, nonce = bytes(32), bytes(16), bytes(16)
        peer._checked(CheckCommit, name)
        commitment = name.seed_commitment(self.party, seed, seed_nonce)
        link.send(CheckCommit(peer.session, number, name.openings, commitment))
        theirs = peer._checked(CheckSeed, name)
        link.send(CheckSeed(peer.session, number, seed, seed_nonce))
        coin = name.coin(seed, theirs.seed)  # the xor of both, in any order
        sigma, tags = self._log.sigma(self.key.alpha, coin), self._log.tags()
        commitment = name.sigma_commitment(self.party, coin, sigma, tags, nonce)
        honest = peer._checked(SigmaCommit, name)
        link.send(self.commit(honest, SigmaCommit(peer.session, number, commitment)))
        opened = peer._checked(SigmaOpen, name)
        self.open_check(opened, SigmaOpen(peer.session, number, sigma, tags, nonce))
        self._log.clear()
        self.counters.checks += 1

    def commit(self, _honest: SigmaCommit, own: SigmaCommit) -> SigmaCommit:
        """What is sent after the honest commitment."""
        return own

    def open_check(self, honest: SigmaOpen, own: SigmaOpen) -> None:
        """Sends what is sent after the honest opening."""
        self._link.send(replace(own, tags=honest.tags))


class Mirror(Copier):
    """Sends the honest party's commitment and opening back."""

    def commit(self, honest: SigmaCommit, _own: SigmaCommit) -> SigmaCommit:
        """The honest commitment."""
        return honest

    def open_check(self, honest: SigmaOpen, _own: SigmaOpen) -> None:
        """Sends the honest opening."""
        self._link.send(honest)


class Honest(Copier):
    """Speaks last, and otherwise does as it should: what `Copier` is built on is right."""

    _open_bits = EngineSession._open_bits

    def open_check(self, _honest: SigmaOpen, own: SigmaOpen) -> None:
        """Sends the right opening."""
        self._link.send(own)


class Omitting(Honest):
    """Opens its check without any tags."""

    def open_check(self, _honest: SigmaOpen, own: SigmaOpen) -> None:
        """Sends the message without the field."""
        head = msgpack.unpackb(bytes(ENGINE_CODEC.encode(own)[0]))
        head.remove(own.tags)
        assert isinstance(self._link, QueueLink)
        self._link.out.put([msgpack.packb(head)])


def lie(_number: int, message: EngineMessage) -> EngineMessage:
    """The first bit of what is sent for signs, flipped on the wire."""
    if isinstance(message, Shares) and message.round == BEFORE_OUTPUT - 1:
        return replace(message, elements=flipped(bytes(message.elements), 0))
    return message


def cheated(stage: Stage, cheater: int, kind: type[EngineSession]) -> tuple[Any, int]:
    """What comes of it at the honest party, and the rounds of shares that it sent."""
    sent: list[Shares] = []

    def listen(_number: int, message: EngineMessage) -> EngineMessage:
        if isinstance(message, Shares):
            sent.append(message)
        return message

    wire = lie if kind._open_bits is Liar._open_bits else None
    found = stage.act(
        stage.mint(COUNTS),
        signs,
        change=(wire, listen) if cheater == 0 else (listen, wire),
        sessions=(kind, EngineSession) if cheater == 0 else (EngineSession, kind),
    )
    return found[1 - cheater], len(sent)


@both
def test_a_flipped_bit_that_the_liar_counts_on_with_is_found_by_its_tag(
    stage: Stage, cheater: int
) -> None:
    with attack(f"P{cheater} flips a sign's bit and counts on with it"):
        outcome, rounds = cheated(stage, cheater, Liar)
        assert isinstance(outcome, TamperDetected)
        assert "tags of opened bits differ" in str(outcome)
        assert rounds == BEFORE_OUTPUT


@both
def test_without_the_comparison_of_tags_the_flipped_bit_is_released(
    stage: Stage, cheater: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "verify_tags", lambda *_: None)
    assert cheated(stage, cheater, Liar) == (WRONG, BEFORE_OUTPUT + 1)


@both
def test_a_digest_of_tags_copied_from_the_honest_opening_does_not_open_the_commitment(
    stage: Stage, cheater: int
) -> None:
    with attack(f"P{cheater} opens the digest of tags that it was shown"):
        outcome, rounds = cheated(stage, cheater, Copier)
        assert isinstance(outcome, TamperDetected)
        assert "sigma does not open its commitment" in str(outcome)
        assert rounds == BEFORE_OUTPUT


@both
def test_where_nothing_is_committed_to_for_tags_the_copied_digest_passes(
    stage: Stage, cheater: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_tags(
        name: CheckName, party: int, coin: bytes, sigma: bytes, _tags: bytes, nonce: bytes
    ) -> bytes:
        return digest("engine sigma", name.session, name.check, coin, party, sigma, nonce)

    monkeypatch.setattr(CheckName, "sigma_commitment", without_tags)
    assert cheated(stage, cheater, Copier) == (WRONG, BEFORE_OUTPUT + 1)


@both
def test_the_honest_commitment_and_opening_sent_back_are_those_of_another_party(
    stage: Stage, cheater: int
) -> None:
    with attack(f"P{cheater} mirrors the end of a check"):
        outcome, rounds = cheated(stage, cheater, Mirror)
        assert isinstance(outcome, TamperDetected)
        assert "sigma does not open its commitment" in str(outcome)
        assert rounds == BEFORE_OUTPUT


@both
def test_an_opening_of_a_check_without_tags_is_no_message(stage: Stage, cheater: int) -> None:
    with attack(f"P{cheater} leaves the digest of tags out"):
        outcome, rounds = cheated(stage, cheater, Omitting)
        assert isinstance(outcome, FormatError)
        assert "SigmaOpen: found 4 fields" in str(outcome)
        assert rounds == BEFORE_OUTPUT


@both
def test_whoever_speaks_last_and_does_not_lie_is_believed(stage: Stage, cheater: int) -> None:
    assert cheated(stage, cheater, Honest) == (RIGHT, BEFORE_OUTPUT + 1)
