"""What a corrupt party does in prepare: shift a share, and learn alpha from what it is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.adversary.stage import prepare_p1
from tests.reference import match, prepare
from tests.reference.blocks import M128, coefficient, digest, number, u128
from tests.reference.face import mask
from tests.reference.match_vectors import kappas
from tests.reference.mint import Slot, mint
from tests.reference.prepare import Header, Shares
from tests.reference.roles import Actor, Role, meet
from tests.reference.samples import ENTRIES, FACES, SMALL, drawn, material_set
from tests.reference.wire import Message, raw, step

TARGET = 1 << (SMALL.n - 1)  # added to kappa, it turns a match bit over


def slot_of(number_: int) -> Slot:
    """A slot of the set under attack."""
    return mint(SMALL, material_set("attacked"), number_)


def check_on(slot: Slot, place: int = 0) -> tuple[Header, tuple[Shares, Shares]]:
    """A check of one slot and place, and both parties' shares."""
    header = Header(
        session=drawn("attack session", 32),
        check=slot.number,
        params=SMALL.digest(),
        place_map=drawn("attack map", 32),
        runs=[(material_set("attacked").set_id, slot.number, 1)],
        places=[place],
    )
    zero, one = (prepare.shares([side], [place], ENTRIES) for side in slot.sides)
    return header, (zero, one)


def shares_under(alpha: tuple[int, int], label: str) -> tuple[Shares, Shares]:
    """Shares of one random kappa under a given alpha (the variant with one alpha per window)."""
    kappa0, kappa1, mac0 = (number(drawn(f"{label} {i}", 16)) for i in range(3))
    mac1 = (sum(alpha) * (kappa0 + kappa1) - mac0) & M128
    return Shares([kappa0], [mac0], [alpha[0]]), Shares([kappa1], [mac1], [alpha[1]])


def chi_of(seed0: bytes, seed1: bytes) -> int:
    """chi of the first opening."""
    coin = bytes(a ^ b for a, b in zip(seed0, seed1, strict=True))
    return coefficient(digest("chi", coin), 0)


def trailing_zeros(value: int) -> int:
    """How often two divides the value."""
    return (value & -value).bit_length() - 1


@dataclass(frozen=True)
class Shown:
    """What a corrupt P0 holds once P1 has given its verdict on a share shifted by eps."""

    transcript: bytes
    verdict: bytes
    honest_sigma: int
    chi: int
    eps: int

    def sigma_if(self, alpha1: int) -> int:
        """The sigma^0 that P1 would take, if this were alpha^1."""
        return (self.honest_sigma + self.chi * alpha1 * self.eps) & M128

    def fits(self, alpha1: int) -> bool:
        """Whether the verdict says so."""
        sigma = u128(self.sigma_if(alpha1))
        return digest("prepare verdict", self.transcript, sigma) == self.verdict


def shifting_p0(
    header: Header,
    mine: Shares,
    eps: int,
    believed_alpha1: int,
    seed: bytes,
    sigma_after: Callable[[Shown], int] | None = None,
) -> Role[Shown]:
    """A corrupt P0: its share is shifted by eps, its sigma^0 right if it believes right.

    sigma_after: tries to open its commitment to this instead, once it has seen the verdict.
    """
    nonce = drawn("corrupt nonce", 16)
    u = header.start()
    shifted = u128((mine.kappa[0] + eps) & M128) + prepare.ring_bytes(mine.kappa[1:])
    prep0: Message = header.fields() | {"kappa": shifted}
    prep0["seed_commitment"] = digest("seed commitment", u, seed, nonce)
    prep1 = yield "Prep0", prep0
    u = step(step(u, "Prep0", prep0), "Prep1", prep1)
    seed1 = raw(prep1, "seed")
    kappa = prepare.opened(header, mine, prep1, "Prep1")
    honest = prepare.sigma(mine, kappa, seed, seed1)
    chi = chi_of(seed, seed1)
    claimed = u128((honest + chi * believed_alpha1 * eps) & M128)
    names: Message = {"session": header.session, "check": header.check}
    prep2 = names | {"seed": seed, "nonce": nonce}
    prep2["sigma_commitment"] = digest("sigma commitment", u, claimed, nonce)
    prep3 = yield "Prep2", prep2
    shown = Shown(step(u, "Prep2", prep2), raw(prep3, "verdict"), honest, chi, eps)
    opened = u128(sigma_after(shown)) if sigma_after else claimed
    yield "Prep4", names | {"sigma": opened, "nonce": nonce}
    return shown


def shifting_p1(
    header: Header, mine: Shares, eps: int, believed_alpha0: int, seed: bytes, prep0: Message
) -> Role[None]:
    """A corrupt P1: its share is shifted by eps, its verdict right if it believes right."""
    u = header.start()
    names: Message = {"session": header.session, "check": header.check}
    shifted = prepare.ring_bytes([(mine.kappa[0] + eps) & M128, *mine.kappa[1:]])
    prep1 = names | {"kappa": shifted, "seed": seed}
    kappa = prepare.opened(header, mine, prep0, "Prep0")
    prep2 = yield "Prep1", prep1
    u = step(step(step(u, "Prep0", prep0), "Prep1", prep1), "Prep2", prep2)
    seed0 = raw(prep2, "seed")
    honest = prepare.sigma(mine, kappa, seed0, seed)
    sigma0 = (-honest - chi_of(seed0, seed) * believed_alpha0 * eps) & M128
    yield "Prep3", names | {"verdict": digest("prepare verdict", u, u128(sigma0))}


@dataclass(frozen=True)
class Knowledge:
    """The low bits of the other's alpha share that are known so far."""

    value: int = 0
    bits: int = 0

    def eps(self, width: int) -> int:
        """An error under which the next `width` bits decide the check value."""
        return 1 << max(0, 128 - self.bits - width)

    def learn(self, width: int, chi: int, fits: Callable[[int], bool]) -> Knowledge:
        """Search the next bits; those that an even chi hides stay unknown."""
        for guess in range(1 << width):
            candidate = self.value + (guess << self.bits)
            if fits(candidate):
                known = max(self.bits, min(128, self.bits + width) - trailing_zeros(chi))
                return Knowledge(candidate % (1 << known), known)
        raise ValueError("nothing fits")


def matched(slot: Slot, kappa: int, place: int = 0) -> int:
    """The verified bit of a fixed face in this slot if both parties use this kappa.

    Raises ValueError where the confirmation would fail.
    """
    e = mask(SMALL, material_set("attacked"), slot.number, FACES[0])
    z = match.public_z(SMALL, ENTRIES[place], e, kappa)
    tags = [match.tag(SMALL, slot, side, place, z) for side in slot.sides]
    bit = (tags[0] ^ tags[1]) & 1
    if tags[0] ^ tags[1] != bit * (slot.sides[0].delta ^ slot.sides[1].delta):
        raise ValueError("the tags are not those of a bit")
    return bit


def true_kappa(slot: Slot, place: int = 0) -> int:
    """The kappa that honest parties open."""
    return kappas(slot, [place])[place]


def seeds(label: str) -> tuple[bytes, bytes]:
    """Fixed seeds of P0 and P1."""
    return drawn(f"{label} seed 0", 32), drawn(f"{label} seed 1", 32)


def attack_p1(
    header: Header, both: tuple[Shares, Shares], eps: int, believed: int, label: str
) -> tuple[Shown, Actor[list[int]]]:
    """A shifting P0 against the programs' P1."""
    seed0, seed1 = seeds(label)
    corrupt, honest = meet(
        shifting_p0(header, both[0], eps, believed, seed0),
        lambda first: prepare_p1(header, both[1], seed1, first),
    )
    assert corrupt.result is not None
    return corrupt.result, honest


def failure(actor: Actor[Any]) -> tuple[str, str]:
    """How an honest role failed; it has no result."""
    assert actor.result is None
    assert actor.failed is not None
    return actor.failed.kind, actor.failed.message
