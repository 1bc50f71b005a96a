"""Prepare: opening kappa for slots and places, and the check of it (protocol section 3, E8).

Roles as in roles.py. A role that is given a `lie` is corrupt: it replaces its messages before it
sends them, computes on with the replaced ones, and checks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference.blocks import M128, coefficient, digest, number, u32, u128
from tests.reference.face import entry_row
from tests.reference.mint import Side
from tests.reference.roles import Lie, Role, require
from tests.reference.wire import Message, raw, run_bytes, step


@dataclass(frozen=True)
class Header:
    """What a check is about: runs of (set id, first slot, length), ascending places."""

    session: bytes
    check: int
    params: bytes
    place_map: bytes
    runs: list[tuple[bytes, int, int]]
    places: list[int]

    @property
    def openings(self) -> int:
        """M."""
        return sum(length for _, _, length in self.runs) * len(self.places)

    def fields(self) -> Message:
        """The header part of Prep0."""
        return {
            "session": self.session,
            "check": self.check,
            "params": self.params,
            "place_map": self.place_map,
            "runs": run_bytes(self.runs),
            "places": b"".join(u32(place) for place in self.places),
        }

    def start(self) -> bytes:
        """U_0."""
        return digest("prepare start", self.session, self.check, self.params, self.place_map)


@dataclass(frozen=True)
class Shares:
    """A party's shares of all kappa and of their MACs, and alpha^j of each opening's slot."""

    kappa: list[int]
    mac: list[int]
    alpha: list[int]


def shares(sides: list[Side], places: list[int], entries: dict[int, list[int]]) -> Shares:
    """kappa = ch.r + rho, slot by slot; entries maps a place to its coordinates."""
    result = Shares([], [], [])
    for side in sides:
        for place in places:
            row = entry_row(entries[place])
            kappa = sum(c * r for c, r in zip(row, side.r, strict=True)) + side.rho[place]
            mac = sum(c * m for c, m in zip(row, side.r_mac, strict=True)) + side.rho_mac[place]
            result.kappa.append(kappa & M128)
            result.mac.append(mac & M128)
            result.alpha.append(side.alpha)
    return result


def sigma(mine: Shares, kappa: list[int], seed0: bytes, seed1: bytes) -> int:
    """sigma^j = sum chi (m^j - alpha^j kappa)."""
    seed = digest("chi", bytes(a ^ b for a, b in zip(seed0, seed1, strict=True)))
    total = 0
    for i, (mac, alpha, value) in enumerate(zip(mine.mac, mine.alpha, kappa, strict=True)):
        total += coefficient(seed, i) * (mac - alpha * value)
    return total & M128


def opened(header: Header, mine: Shares, theirs: Message, name: str) -> list[int]:
    """All kappa from both sides' shares, 128 bits each."""
    content = raw(theirs, "kappa")
    require(len(content) == 16 * header.openings, "ProtocolViolation", name)
    other = [number(content[i : i + 16]) for i in range(0, len(content), 16)]
    return [(a + b) & M128 for a, b in zip(mine.kappa, other, strict=True)]


def p0(
    header: Header,
    mine: Shares,
    seed: bytes,
    seed_nonce: bytes,
    sigma_nonce: bytes,
    lie: Lie | None = None,
) -> Role[list[int]]:
    """P0: sends Prep0, Prep2, Prep4; returns the opened kappa."""
    u = header.start()
    commitment = digest("seed commitment", u, seed, seed_nonce)
    prep0 = header.fields() | {"kappa": ring_bytes(mine.kappa), "seed_commitment": commitment}
    prep0 = lie("Prep0", prep0) if lie else prep0
    prep1 = yield "Prep0", prep0
    u = step(step(u, "Prep0", prep0), "Prep1", prep1)
    if not lie:
        same(header, prep1, "Prep1")
    # A corrupt P0 computes with the share that it sent, else its lie would be no lie at all.
    kappa = opened(header, with_kappa(mine, prep0), prep1, "Prep1")
    mine_sigma = u128(sigma(mine, kappa, seed, raw(prep1, "seed")))
    prep2: Message = {"session": header.session, "check": header.check, "seed": seed}
    prep2["nonce"] = seed_nonce
    prep2["sigma_commitment"] = digest("sigma commitment", u, mine_sigma, sigma_nonce)
    prep2 = lie("Prep2", prep2) if lie else prep2
    prep3 = yield "Prep2", prep2
    u = step(u, "Prep2", prep2)
    if not lie:
        same(header, prep3, "Prep3")
        right = digest("prepare verdict", u, mine_sigma)
        require(prep3["verdict"] == right, "TamperDetected", "Prep3")
    prep4: Message = {"session": header.session, "check": header.check, "sigma": mine_sigma}
    prep4["nonce"] = sigma_nonce
    yield "Prep4", lie("Prep4", prep4) if lie else prep4
    return kappa


def p1(
    header: Header, mine: Shares, seed: bytes, prep0: Message, lie: Lie | None = None
) -> Role[list[int]]:
    """P1: given Prep0, sends Prep1 and Prep3, is sent Prep2 and Prep4; returns the kappa."""
    if not lie:
        for field, value in header.fields().items():
            require(prep0[field] == value, "HeaderMismatch", "Prep0")
    u0 = header.start()
    prep1: Message = {"session": header.session, "check": header.check}
    prep1 |= {"kappa": ring_bytes(mine.kappa), "seed": seed}
    prep1 = lie("Prep1", prep1) if lie else prep1
    kappa = opened(header, with_kappa(mine, prep1), prep0, "Prep0")
    prep2 = yield "Prep1", prep1
    u2 = step(step(u0, "Prep0", prep0), "Prep1", prep1)
    if not lie:
        same(header, prep2, "Prep2")
        commitment = digest("seed commitment", u0, raw(prep2, "seed"), raw(prep2, "nonce"))
        require(commitment == prep0["seed_commitment"], "TamperDetected", "Prep2")
    minus_sigma = u128(-sigma(mine, kappa, raw(prep2, "seed"), seed) & M128)
    prep3: Message = {"session": header.session, "check": header.check}
    prep3["verdict"] = digest("prepare verdict", step(u2, "Prep2", prep2), minus_sigma)
    prep4 = yield "Prep3", lie("Prep3", prep3) if lie else prep3
    if not lie:
        same(header, prep4, "Prep4")
        commitment = digest("sigma commitment", u2, raw(prep4, "sigma"), raw(prep4, "nonce"))
        require(commitment == prep2["sigma_commitment"], "TamperDetected", "Prep4")
        require(prep4["sigma"] == minus_sigma, "TamperDetected", "Prep4")
    return kappa


def same(header: Header, message: Message, name: str) -> None:
    """A message of this session and check."""
    named = (message["session"], message["check"])
    require(named == (header.session, header.check), "ProtocolViolation", name)


def with_kappa(mine: Shares, sent: Message) -> Shares:
    """The shares with kappa as it was sent."""
    content = raw(sent, "kappa")
    kappa = [number(content[i : i + 16]) for i in range(0, len(content), 16)]
    return Shares(kappa, mine.mac, mine.alpha)


def ring_bytes(values: list[int]) -> bytes:
    """Ring elements, 16 bytes each."""
    return b"".join(u128(value) for value in values)
