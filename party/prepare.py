"""One prepare check as a pair of pure state machines (protocol section 3, Prep0 to Prep4).

Each step takes a state and a message and returns the next state and a message; only `Passed`
holds the opened kappas. Randomness is handed in; nothing here does I/O.
Cost of a check over M openings: 5 messages, 32 M bytes of shares in all.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shared import prg, ring
from shared.codec import Buffer
from shared.errors import HeaderMismatch, ProtocolViolation, TamperDetected
from shared.hashing import digest
from shared.messages import (
    PARTY_CODEC,
    PartyMessage,
    Prep0,
    Prep1,
    Prep2,
    Prep3,
    Prep4,
    Run,
    pack_runs,
)

U64Array = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class CheckHeader:
    """What a check is about; both parties must name the same.

    runs: the slots, in order. places: ascending place numbers, the same for every slot.
    """

    session: bytes
    check: int
    params: bytes
    place_map: bytes
    runs: tuple[Run, ...]
    places: tuple[int, ...]

    @property
    def slots(self) -> int:
        """Slots in this check."""
        return sum(run.length for run in self.runs)

    @property
    def openings(self) -> int:
        """M, openings in this check."""
        return self.slots * len(self.places)

    def start(self) -> bytes:
        """The transcript digest before Prep0."""
        return digest("prepare start", self.session, self.check, self.params, self.place_map)

    def place_bytes(self) -> bytes:
        """The places as u32."""
        return np.asarray(self.places, dtype="<u4").tobytes()

    def matches(self, found: Prep0) -> None:
        """Raises HeaderMismatch naming the first field in which Prep0 differs."""
        for name, expected, value in (
            ("session", self.session, found.session),
            ("check", self.check, found.check),
            ("parameters", self.params, found.params),
            ("place map", self.place_map, found.place_map),
            ("slots", pack_runs(self.runs), bytes(found.runs)),
            ("places", self.place_bytes(), bytes(found.places)),
        ):
            if expected != value:
                raise HeaderMismatch(f"prepare check {self.check}: the peer's {name} differ")


@dataclass(frozen=True, slots=True)
class OpeningShares:
    """A party's shares for a check, slots in order, places ascending within a slot.

    kappa, mac: (M, 2) uint64, shares of kappa and of its MAC. alphas: (F, 2), alpha^j per slot.
    """

    kappa: U64Array = field(repr=False)
    mac: U64Array = field(repr=False)
    alphas: U64Array = field(repr=False)


@dataclass(frozen=True, slots=True)
class Passed:
    """A check that passed on this side. kappa: (F, places) uint32, mod 2^32."""

    header: CheckHeader
    kappa: NDArray[np.uint32] = field(repr=False)


@dataclass(frozen=True, slots=True)
class P0Started:
    """P0 after Prep0."""

    header: CheckHeader
    shares: OpeningShares = field(repr=False)
    seed: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    transcript: bytes

    def receive(self, message: Prep1, sigma_nonce: bytes) -> tuple[P0Committed, Prep2]:
        """Opens seed0, computes sigma^0 and commits to it. Raises ProtocolViolation."""
        _same_check(self.header, message)
        transcript = _absorb(self.transcript, message)
        kappa = _open(self.header, self.shares.kappa, message.kappa)
        sigma = _sigma(self.shares, kappa, self.seed, message.seed)
        commitment = digest("sigma commitment", transcript, sigma, sigma_nonce)
        answer = Prep2(self.header.session, self.header.check, self.seed, self.nonce, commitment)
        state = P0Committed(self.header, kappa, sigma, sigma_nonce, _absorb(transcript, answer))
        return state, answer


@dataclass(frozen=True, slots=True)
class P0Committed:
    """P0 after Prep2: it has shown no check value yet."""

    header: CheckHeader
    kappa: U64Array = field(repr=False)
    sigma: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    transcript: bytes

    def receive(self, message: Prep3) -> tuple[Passed, Prep4]:
        """Checks the verdict, then opens sigma^0. Raises TamperDetected."""
        _same_check(self.header, message)
        expected = digest("prepare verdict", self.transcript, self.sigma)
        if not hmac.compare_digest(expected, message.verdict):
            raise TamperDetected(
                f"prepare check {self.header.check}: P1's verdict is wrong", self.transcript
            )
        answer = Prep4(self.header.session, self.header.check, self.sigma, self.nonce)
        return _passed(self.header, self.kappa), answer


@dataclass(frozen=True, slots=True)
class P1Answered:
    """P1 after Prep1."""

    header: CheckHeader
    shares: OpeningShares = field(repr=False)
    kappa: U64Array = field(repr=False)
    seed: bytes = field(repr=False)
    before_prep0: bytes
    seed_commitment: bytes
    transcript: bytes

    def receive(self, message: Prep2) -> tuple[P1Judged, Prep3]:
        """Verifies the opening of seed0 and gives the verdict. Raises TamperDetected."""
        _same_check(self.header, message)
        opened = digest("seed commitment", self.before_prep0, message.seed, message.nonce)
        if not hmac.compare_digest(opened, self.seed_commitment):
            raise TamperDetected(
                f"prepare check {self.header.check}: P0's seed does not open its commitment",
                self.transcript,
            )
        sigma = _sigma(self.shares, self.kappa, message.seed, self.seed)
        minus = _negated(sigma)
        before = self.transcript
        transcript = _absorb(before, message)
        answer = Prep3(
            self.header.session,
            self.header.check,
            digest("prepare verdict", transcript, minus),
        )
        state = P1Judged(self.header, self.kappa, minus, before, message.sigma_commitment)
        return state, answer


@dataclass(frozen=True, slots=True)
class P1Judged:
    """P1 after Prep3: its check value is shown, so this ends in pass or burn."""

    header: CheckHeader
    kappa: U64Array = field(repr=False)
    minus_sigma: bytes = field(repr=False)
    before_prep2: bytes
    sigma_commitment: bytes

    def receive(self, message: Prep4) -> Passed:
        """Verifies the opening of sigma^0 and the check itself. Raises TamperDetected."""
        _same_check(self.header, message)
        opened = digest("sigma commitment", self.before_prep2, message.sigma, message.nonce)
        if not hmac.compare_digest(opened, self.sigma_commitment):
            raise TamperDetected(
                f"prepare check {self.header.check}: P0's sigma does not open its commitment",
                self.before_prep2,
            )
        if not hmac.compare_digest(message.sigma, self.minus_sigma):
            raise TamperDetected(
                f"prepare check {self.header.check}: the MAC check failed", self.before_prep2
            )
        return _passed(self.header, self.kappa)


def start_p0(
    header: CheckHeader, shares: OpeningShares, seed: bytes, nonce: bytes
) -> tuple[P0Started, Prep0]:
    """P0's first message; seed: 32 fresh random bytes, nonce: 16 (protocol section 3, Prep0)."""
    _check_shapes(header, shares)
    before = header.start()
    message = Prep0(
        header.session,
        header.check,
        header.params,
        header.place_map,
        pack_runs(header.runs),
        header.place_bytes(),
        shares.kappa.tobytes(),
        digest("seed commitment", before, seed, nonce),
    )
    return P0Started(header, shares, seed, nonce, _absorb(before, message)), message


def answer_p1(
    header: CheckHeader, shares: OpeningShares, seed: bytes, message: Prep0
) -> tuple[P1Answered, Prep1]:
    """P1's answer to Prep0; seed: 32 fresh random bytes. Raises HeaderMismatch."""
    header.matches(message)
    _check_shapes(header, shares)
    before = header.start()
    kappa = _open(header, shares.kappa, message.kappa)
    answer = Prep1(header.session, header.check, shares.kappa.tobytes(), seed)
    transcript = _absorb(_absorb(before, message), answer)
    state = P1Answered(header, shares, kappa, seed, before, message.seed_commitment, transcript)
    return state, answer


def _check_shapes(header: CheckHeader, shares: OpeningShares) -> None:
    expected = (header.openings, 2)
    if shares.kappa.shape != expected or shares.mac.shape != expected:
        raise ProtocolViolation(
            f"prepare check {header.check}: shares of shape {shares.kappa.shape}, "
            f"expected {expected}"
        )


def _open(header: CheckHeader, own: U64Array, data: Buffer) -> U64Array:
    """Both shares added: the opened kappas, all 128 bits."""
    other = np.frombuffer(data, dtype="<u8")
    if other.size != own.size:
        raise ProtocolViolation(
            f"prepare check {header.check}: found {other.size // 2} shares, "
            f"expected {header.openings}"
        )
    return ring.add(own, other.reshape(own.shape))


def _sigma(shares: OpeningShares, kappa: U64Array, seed0: bytes, seed1: bytes) -> bytes:
    """sigma^j = sum chi (m^j - alpha^j kappa) mod 2^128, as 16 bytes; chi from both seeds."""
    coin = bytes(a ^ b for a, b in zip(seed0, seed1, strict=True))
    chi = prg.coefficients(digest("chi", coin), len(kappa))
    return ring.inner_mac_check(chi, shares.mac, shares.alphas, kappa).tobytes()


def _negated(value: bytes) -> bytes:
    return (-int.from_bytes(value, "little") % (1 << 128)).to_bytes(16, "little")


def _passed(header: CheckHeader, kappa: U64Array) -> Passed:
    low = (kappa[:, 0] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    return Passed(header, low.reshape(header.slots, len(header.places)))


def _same_check(header: CheckHeader, message: Prep1 | Prep2 | Prep3 | Prep4) -> None:
    if message.session != header.session or message.check != header.check:
        raise ProtocolViolation(
            f"prepare: found a message of check {message.check}, expected {header.check}"
        )


def _absorb(transcript: bytes, message: PartyMessage) -> bytes:
    """The transcript digest after a message: over all bytes before it and its own."""
    return digest("step", transcript, *PARTY_CODEC.encode(message))
