"""Protocol section 9, match: each attack fails, and succeeds without its protection.

Where an attack searches, all but ten bits of what it searches for are given to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from shared import prg
from tests.adversary.stage import match_p0, match_p1
from tests.reference import dcf, match
from tests.reference.blocks import digest, g, number, u64
from tests.reference.match import Batch, Bits, Tags
from tests.reference.match_vectors import batch_of, camera_messages, faces, tags_of
from tests.reference.roles import Actor
from tests.reference.samples import ENTRIES, altered, drawn
from tests.reference.wire import Message, raw

UNKNOWN = 0x7FE  # the bits of the other party's Delta that are searched; the least one is known
NONCE = drawn("secret confirm nonce", 16)
Stage = tuple[Batch, tuple[Tags, Tags]]


@pytest.fixture(scope="module")
def stage() -> Stage:
    """A batch and both parties' tags."""
    everyone = faces()
    batch = batch_of(camera_messages(everyone))
    return batch, (tags_of(0, everyone, ENTRIES), tags_of(1, everyone, ENTRIES))


def candidates(delta: int) -> Iterator[int]:
    """All values of the other's Delta that fit what is known of it."""
    for guess in range(1 << 10):
        yield (delta & ~UNKNOWN) | guess << 1


def flipped(name: str, message: Message) -> Message:
    """A corrupt party flips its share of the first bit."""
    return message | {"bits": altered(raw(message, "bits"))} if "bits" in message else message


def true_bits(batch: Batch, tags: tuple[Tags, Tags]) -> Bits:
    """What honest parties open."""
    return match.opened(batch, tags[0].bit_shares(), tags[1].bit_shares(), "")


def expected_tags(mine: Tags, bits: Bits, other_delta: int) -> bytes:
    """The other's tags digest after the flip, if its Delta of the first face were this."""
    content = b""
    for row, delta, opened in zip(mine.tags, mine.delta, bits, strict=True):
        content += b"".join(u64(t ^ b * delta) for t, b in zip(row, opened, strict=True))
    first = number(content[:8]) ^ other_delta
    return digest("tags", u64(first) + content[8:])


# -- row 5: P1's tag digest sent plainly in Reveal1 ---------------------------------------


def flipping_p0(
    stage: Stage, nonce: bytes, recognised: Callable[[bytes, bytes, Message], bool] | None
) -> tuple[Actor[Bits], bool]:
    """A P0 that flips a bit share, and forges Confirm0 for the Delta that it recognises.

    recognised: given the match transcript, a candidate's tags digest and Reveal1. Returns the
    programs' P1, and whether anything was recognised.
    """
    batch, (mine, theirs) = stage
    reveal0 = flipped("Reveal0", batch.fields() | {"bits": mine.bit_shares()})
    honest = Actor(match_p1(batch, theirs, nonce, reveal0))
    reveal1 = honest.sent[-1][1]
    w = batch.transcript(raw(reveal0, "bits"), raw(reveal1, "bits"))
    bits = true_bits(batch, (mine, theirs))
    found = drawn("a guess", 32)
    hit = False
    for delta in candidates(theirs.delta[0]):
        tags = expected_tags(mine, bits, delta)
        if recognised and recognised(w, tags, reveal1):
            found, hit = tags, True
    confirm0: Message = {"session": batch.session, "batch": batch.number}
    confirm0["confirmation"] = digest("confirm0", w, raw(reveal1, "commitment"), found)
    honest.hear(confirm0)
    return honest, hit


def wrong_bits(stage: Stage) -> Bits:
    """The bits with the first one turned over."""
    bits = true_bits(*stage)
    return [[bits[0][0] ^ 1, *bits[0][1:]], *bits[1:]]


def test_a_tag_digest_sent_plainly_is_searched_and_a_confirmation_forged(stage: Stage) -> None:
    _, (_, theirs) = stage
    plain = theirs.digest(wrong_bits(stage))  # the weak Reveal1 would carry it
    honest, hit = flipping_p0(stage, NONCE, lambda w, tags, reveal1: tags == plain)
    assert hit
    assert honest.result == wrong_bits(stage)


def commitment_opens(nonce: bytes) -> Callable[[bytes, bytes, Message], bool]:
    """Whether a candidate is what P1 has committed to, if this were the nonce."""

    def opens(w: bytes, tags: bytes, reveal1: Message) -> bool:
        committed = digest("confirm commitment", w, digest("confirm1", w, tags), nonce)
        return committed == reveal1["commitment"]

    return opens


def test_a_commitment_with_a_known_nonce_is_searched_like_a_digest(stage: Stage) -> None:
    honest, hit = flipping_p0(stage, bytes(16), commitment_opens(bytes(16)))
    assert hit
    assert honest.result == wrong_bits(stage)


def test_a_commitment_with_a_secret_nonce_tells_nothing_and_the_flip_is_caught(
    stage: Stage,
) -> None:
    for nonce in (b"", bytes(16), drawn("another nonce", 16)):
        honest, hit = flipping_p0(stage, NONCE, commitment_opens(nonce))
        assert not hit  # the right Delta is among the candidates
        assert honest.result is None
        assert honest.failed is not None
        assert (honest.failed.kind, honest.failed.message) == ("TamperDetected", "Confirm0")
        assert [name for name, _ in honest.sent] == ["Reveal1"]


# -- the other side: Confirm0 may be searched by P1, whose commitment stands ---------------


def flipping_p1(stage: Stage, committed_tags: bytes) -> tuple[Actor[Bits], bytes]:
    """A P1 that flips a bit share, commits to this, and then searches Confirm0.

    It opens what it has found. Returns the programs' P0, and the tags digest that was found.
    """
    batch, (theirs, mine) = stage
    honest = Actor(match_p0(batch, theirs))
    reveal0 = honest.sent[-1][1]
    names: Message = {"session": batch.session, "batch": batch.number}
    reveal1 = flipped("Reveal1", names | {"bits": mine.bit_shares()})
    w = batch.transcript(raw(reveal0, "bits"), raw(reveal1, "bits"))
    commitment = digest("confirm commitment", w, digest("confirm1", w, committed_tags), NONCE)
    honest.hear(reveal1 | {"commitment": commitment})
    confirmation = honest.sent[-1][1]["confirmation"]
    bits = true_bits(batch, (theirs, mine))
    found = next(
        tags
        for tags in (expected_tags(mine, bits, d) for d in candidates(theirs.delta[0]))
        if digest("confirm0", w, commitment, tags) == confirmation
    )
    honest.hear(names | {"confirmation": digest("confirm1", w, found), "nonce": NONCE})
    return honest, found


def test_what_p1_finds_in_confirm0_comes_too_late_for_its_commitment(stage: Stage) -> None:
    honest, found = flipping_p1(stage, drawn("a guess", 32))
    assert honest.result is None
    assert honest.failed is not None
    assert (honest.failed.kind, honest.failed.message) == ("TamperDetected", "Confirm1")
    # Could it commit after Confirm0, that is, on the same slots once more, it would be believed.
    fooled, _ = flipping_p1(stage, found)
    assert fooled.result == wrong_bits(stage)


# -- row 7: one fixed AES key for all -----------------------------------------------------

BITS = 8
COMPARISONS = 256
BUDGET = 256  # AES keys tried
SEEDS = 1 << 14  # as many roots as there are, instead of 2^126


def comparisons(keys: list[bytes]) -> tuple[list[tuple[int, int]], list[int], list[dcf.Words]]:
    """Roots, points and correction words; P1's roots are from the small space."""
    roots, points, words = [], [], []
    for i, key in enumerate(keys):
        own = dcf.clear(number(drawn(f"root 0 {i}", 16)))
        other = number(drawn(f"root 1 {i}", 4)) % SEEDS << 2
        point = drawn(f"point {i}", 1)[0]
        roots.append((own, other))
        points.append(point)
        words.append(dcf.generate(BITS, key, (own, other), point, 0x1111, 0x2222))
    return roots, points, words


def search(keys: list[bytes], own: list[int], words: list[dcf.Words]) -> dict[int, int]:
    """P0's search for P1's roots: comparison -> root. One try costs one or two AES calls.

    The first seed correction is the xor of both parties' left, or right, children.
    """
    targets: dict[bytes, dict[int, int]] = {}
    for i, key in enumerate(keys):
        for side in (0, 1):
            child = dcf.clear(words[i].seeds[0] ^ g(key, own[i] ^ side))
            targets.setdefault(key, {})[child] = i
    found = {}
    for attempt in range(BUDGET):
        key = keys[attempt % len(keys)]  # one key: it serves all targets; else the next slot's
        root = attempt << 2
        for side in (0, 1):
            hit = targets[key].get(dcf.clear(g(key, root ^ side)))
            if hit is not None:
                found[hit] = root
    return found


def point_of(key: bytes, roots: tuple[int, int], words: dcf.Words) -> int:
    """The secret point, for who has both roots."""
    values = [
        dcf.evaluate(BITS, key, 0, roots[0], words, x)
        ^ dcf.evaluate(BITS, key, 1, roots[1], words, x)
        for x in range(1 << BITS)
    ]
    return values.index(0x2222)


def test_one_fixed_aes_key_lets_every_try_count_against_all_comparisons() -> None:
    keys = [bytes(16)] * COMPARISONS
    roots, points, words = comparisons(keys)
    found = search(keys, [own for own, _ in roots], words)
    assert len(found) >= 2  # about COMPARISONS * BUDGET / SEEDS
    for i, root in found.items():
        assert root == roots[i][1]
        assert point_of(keys[i], (roots[i][0], root), words[i]) == points[i]


def test_with_a_key_per_slot_the_same_number_of_tries_finds_nothing() -> None:
    slots = np.arange(COMPARISONS, dtype=np.uint64)
    keys = [key.tobytes() for key in prg.slot_keys(drawn("set", 32), slots)]
    elsewhere = [key.tobytes() for key in prg.slot_keys(drawn("other set", 32), slots)]
    assert len({*keys, *elsewhere}) == 2 * COMPARISONS
    roots, _, words = comparisons(keys)
    assert search(keys, [own for own, _ in roots], words) == {}
