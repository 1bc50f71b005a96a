"""Match: authenticated bits, their opening and the confirmation (protocol section 3, E6 and E8)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.reference import dcf
from tests.reference.blocks import digest, pack_bits, u64
from tests.reference.face import entry_constant, entry_row
from tests.reference.mint import MaterialSet, Params, Side, Slot
from tests.reference.roles import Lie, Role, require
from tests.reference.wire import Message, frames, raw, run_bytes

Bits = list[list[int]]


@dataclass(frozen=True)
class Batch:
    """What a batch is about. runs: (set, first slot, length, digest of the camera message)."""

    session: bytes
    number: int
    params: bytes
    place_map: bytes
    places: int
    runs: list[tuple[MaterialSet, int, int, bytes]]
    live: list[int]

    @property
    def faces(self) -> int:
        """Faces in this batch."""
        return sum(length for _, _, length, _ in self.runs)

    def live_mask(self) -> bytes:
        """One bit a place."""
        return pack_bits([int(place in self.live) for place in range(self.places)])

    def fields(self) -> Message:
        """The header part of Reveal0."""
        runs = [(material.set_id, first, length) for material, first, length, _ in self.runs]
        return {
            "session": self.session,
            "batch": self.number,
            "params": self.params,
            "place_map": self.place_map,
            "faces": digest("batch faces", *[faces for _, _, _, faces in self.runs]),
            "live": self.live_mask(),
            "runs": run_bytes(runs),
        }

    def transcript(self, bits0: bytes, bits1: bytes) -> bytes:
        """W, which covers everything named and both bit strings."""
        fields: list[bytes | int | str] = []
        for material, first, length, faces in self.runs:
            fields += [material.mint_id, material.window, material.camera, first, length, faces]
        return digest(
            "match",
            self.session,
            self.number,
            1,
            self.params,
            self.place_map,
            self.live_mask(),
            len(self.runs),
            *fields,
            bits0,
            bits1,
        )


@dataclass(frozen=True)
class Tags:
    """A party's tag shares, one list of live places per face, and Delta^j of each face."""

    tags: list[list[int]]
    delta: list[int]

    def bit_shares(self) -> bytes:
        """The least bits, each face padded to bytes."""
        return b"".join(pack_bits([tag & 1 for tag in row]) for row in self.tags)

    def digest(self, bits: Bits) -> bytes:
        """G: over all t xor b Delta."""
        content = b""
        for row, delta, opened in zip(self.tags, self.delta, bits, strict=True):
            content += b"".join(u64(t ^ b * delta) for t, b in zip(row, opened, strict=True))
        return digest("tags", content)


def camera_message(
    params: Params, material: MaterialSet, first: int, times: list[int], masked: list[list[int]]
) -> Message:
    """Faces of consecutive slots as a camera sends them: times in ms, e per face."""
    return {
        "mint_id": material.mint_id,
        "params": params.digest(),
        "window": material.window,
        "camera": material.camera,
        "first": first,
        "times": b"".join(u64(time) for time in times),
        "masked": b"".join(v.to_bytes(4, "little") for e in masked for v in e),
    }


def faces_digest(message: Message) -> bytes:
    """E1, label `faces`."""
    return digest("faces", *frames("Faces", message))


def public_z(params: Params, c: list[int], e: list[int], kappa: int) -> int:
    """z = ch.e + C - T + kappa mod 2^n."""
    inner = sum(a * b for a, b in zip(entry_row(c), e, strict=True))
    return (inner + entry_constant(c) - params.threshold + kappa) % (1 << params.n)


def tag(params: Params, slot: Slot, side: Side, place: int, z: int) -> int:
    """E6: the party's share of the authenticated bit [z - rho is negative]."""
    low, top = z % (1 << (params.n - 1)), z >> (params.n - 1)
    root, words = side.roots[place], slot.words[place]
    share = dcf.evaluate(params.n - 1, slot.key, side.party, root, words, low)
    return share ^ top * side.delta


def opened(batch: Batch, own: bytes, other: bytes, name: str) -> Bits:
    """Both bit strings xored, one list of live places per face."""
    width = (len(batch.live) + 7) // 8
    require(len(other) == batch.faces * width, "ProtocolViolation", name)
    rows = []
    for face in range(batch.faces):
        both = [own[face * width + i] ^ other[face * width + i] for i in range(width)]
        bits = [(byte >> i) & 1 for byte in both for i in range(8)]
        require(not any(bits[len(batch.live) :]), "ProtocolViolation", name)
        rows.append(bits[: len(batch.live)])
    return rows


def p0(batch: Batch, mine: Tags, lie: Lie | None = None) -> Role[Bits]:
    """P0: sends Reveal0 and Confirm0; returns the verified bits."""
    reveal0 = batch.fields() | {"bits": mine.bit_shares()}
    reveal0 = lie("Reveal0", reveal0) if lie else reveal0
    reveal1 = yield "Reveal0", reveal0
    if not lie:
        same(batch, reveal1, "Reveal1")
    own, other = raw(reveal0, "bits"), raw(reveal1, "bits")
    bits = opened(batch, own, other, "Reveal1")
    w, tags = batch.transcript(own, other), mine.digest(bits)
    confirm0: Message = {"session": batch.session, "batch": batch.number}
    confirm0["confirmation"] = digest("confirm0", w, raw(reveal1, "commitment"), tags)
    confirm1 = yield "Confirm0", lie("Confirm0", confirm0) if lie else confirm0
    if not lie:
        same(batch, confirm1, "Confirm1")
        confirmation, nonce = raw(confirm1, "confirmation"), raw(confirm1, "nonce")
        commitment = digest("confirm commitment", w, confirmation, nonce)
        require(commitment == reveal1["commitment"], "TamperDetected", "Confirm1")
        require(confirmation == digest("confirm1", w, tags), "TamperDetected", "Confirm1")
    return bits


def p1(
    batch: Batch, mine: Tags, nonce: bytes, reveal0: Message, lie: Lie | None = None
) -> Role[Bits]:
    """P1: given Reveal0, sends Reveal1 and Confirm1; returns the verified bits."""
    if not lie:
        for field, value in batch.fields().items():
            require(reveal0[field] == value, "HeaderMismatch", "Reveal0")
    reveal1: Message = {"session": batch.session, "batch": batch.number, "bits": mine.bit_shares()}
    reveal1 = lie("Reveal1", reveal1) if lie else reveal1
    other, own = raw(reveal0, "bits"), raw(reveal1, "bits")
    bits = opened(batch, own, other, "Reveal0")
    w, tags = batch.transcript(other, own), mine.digest(bits)
    confirmation = digest("confirm1", w, tags)
    commitment = digest("confirm commitment", w, confirmation, nonce)
    confirm0 = yield "Reveal1", {"commitment": commitment} | reveal1
    if not lie:
        same(batch, confirm0, "Confirm0")
        expected = digest("confirm0", w, commitment, tags)
        require(confirm0["confirmation"] == expected, "TamperDetected", "Confirm0")
    confirm1: Message = {"session": batch.session, "batch": batch.number}
    confirm1 |= {"confirmation": confirmation, "nonce": nonce}
    yield "Confirm1", lie("Confirm1", confirm1) if lie else confirm1
    return bits


def same(batch: Batch, message: Message, name: str) -> None:
    """A message of this session and batch."""
    named = (message["session"], message["batch"])
    require(named == (batch.session, batch.number), "ProtocolViolation", name)
