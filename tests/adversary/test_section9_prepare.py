"""Protocol section 9, prepare: each attack fails, and succeeds without its protection."""

from __future__ import annotations

import hashlib

from tests.adversary.prepare_attacks import (
    TARGET,
    Knowledge,
    Shown,
    attack_p1,
    check_on,
    chi_of,
    failure,
    matched,
    seeds,
    shares_under,
    shifting_p0,
    shifting_p1,
    slot_of,
    trailing_zeros,
    true_kappa,
)
from tests.adversary.stage import prepare_p0, prepare_p1
from tests.reference import prepare
from tests.reference.blocks import M128, digest, number, u128
from tests.reference.mint import Slot
from tests.reference.prepare import Shares
from tests.reference.roles import Actor, meet
from tests.reference.samples import SMALL, drawn
from tests.reference.wire import Message

N = SMALL.n
NONCES = (drawn("honest nonce 0", 16), drawn("honest nonce 1", 16))


def test_honest_parties_pass_and_the_target_error_turns_a_match_over() -> None:
    slot = slot_of(0)
    header, both = check_on(slot)
    seed0, seed1 = seeds("honest")
    zero, one = meet(
        prepare_p0(header, both[0], seed0, NONCES),
        lambda first: prepare_p1(header, both[1], seed1, first),
    )
    kappa = true_kappa(slot)
    assert zero.result == one.result == [kappa % (1 << 32)]
    assert matched(slot, kappa) == 1
    assert matched(slot, kappa + TARGET) == 0


# -- row 1: kappa opened by its low bits, the high parts in a random combination ---------


def opened_by_low_bits(both: tuple[Shares, Shares], chi: int, cheat: bool) -> int | None:
    """The weak variant: low n bits first, sum of chi times the high parts later, then the MACs.

    A corrupt P0 shifts its low share and takes it back from the high part. None: check failed.
    """
    low = [share.kappa[0] % (1 << N) for share in both]
    high = [chi * (share.kappa[0] >> N) for share in both]
    if cheat:
        low[0] += TARGET
        high[0] -= chi // 2  # TARGET = 2^N / 2
    y = chi * sum(low) + (sum(high) << N)
    sigma = [chi * share.mac[0] - share.alpha[0] * y for share in both]
    return sum(low) % (1 << N) if sum(sigma) & M128 == 0 else None


def test_a_shift_of_a_low_share_passes_every_other_time_when_only_low_bits_are_opened() -> None:
    turned = 0
    for number_ in range(40):
        slot = slot_of(number_)
        _, both = check_on(slot)
        chi = chi_of(*seeds(f"low {number_}"))
        kappa = true_kappa(slot)
        assert opened_by_low_bits(both, chi, cheat=False) == kappa % (1 << N)
        found = opened_by_low_bits(both, chi, cheat=True)
        assert (found is not None) == (chi % 2 == 0)
        if found is not None:
            assert matched(slot, found) != matched(slot, kappa)
            turned += 1
    assert 10 < turned < 30


def test_a_shift_of_a_share_never_passes_when_all_bits_are_opened() -> None:
    for number_ in range(40):
        header, both = check_on(slot_of(number_))
        # With the low bits alone, or with any high part added: there is nothing to take back.
        high = number(drawn(f"high {number_}", 16)) << N if number_ % 2 else 0
        _, honest = attack_p1(header, both, TARGET + high, 0, f"low {number_}")
        assert failure(honest) == ("TamperDetected", "Prep4")


# -- row 2: check values as digests, one side first; one alpha per window ----------------


def digest_first(both: tuple[Shares, Shares], eps: int, label: str) -> tuple[Shown, int]:
    """The weak variant, up to P1's digest of its check value, which it sends before P0's.

    Also returns the value that P1 takes for right.
    """
    seed0, seed1 = seeds(label)
    kappa = (both[0].kappa[0] + both[1].kappa[0]) & M128
    honest = prepare.sigma(both[0], [kappa], seed0, seed1)
    right = -prepare.sigma(both[1], [(kappa + eps) & M128], seed0, seed1) & M128
    verdict = digest("prepare verdict", b"weak", u128(right))
    return Shown(b"weak", verdict, honest, chi_of(seed0, seed1), eps), right


def test_digests_of_check_values_and_one_alpha_per_window_give_all_of_alpha_away() -> None:
    alpha = (number(drawn("window alpha 0", 16)), number(drawn("window alpha 1", 16)))
    known, batches = Knowledge(), 0
    while known.bits < 128:
        label = f"batch {batches}"
        shown, right = digest_first(shares_under(alpha, label), known.eps(8), label)
        known = known.learn(8, shown.chi, shown.fits)
        assert shown.sigma_if(known.value) == right or trailing_zeros(shown.chi) > 0
        batches += 1
    assert known.value == alpha[1]
    assert batches < 40
    shown, right = digest_first(shares_under(alpha, "forged"), TARGET, "forged")
    assert shown.sigma_if(known.value) == right  # a wrong kappa passes


def test_a_commitment_to_the_check_value_makes_the_learning_party_fail() -> None:
    header, both = check_on(slot_of(1))
    seed0, seed1 = seeds("commitment")
    eps, learned = Knowledge().eps(8), []

    def answer_what_was_learned(shown: Shown) -> int:
        known = Knowledge().learn(8, shown.chi, shown.fits)
        learned.append(known)
        return shown.sigma_if(known.value)

    _, honest = meet(
        shifting_p0(header, both[0], eps, 0, seed0, answer_what_was_learned),
        lambda first: prepare_p1(header, both[1], seed1, first),
    )
    # It does learn eight bits of this slot's alpha, and cannot use them in this check.
    assert learned[0].value == both[1].alpha[0] % (1 << learned[0].bits)
    assert failure(honest) == ("TamperDetected", "Prep4")


def test_all_of_the_alpha_of_one_slot_forges_nothing_on_another() -> None:
    header, both = check_on(slot_of(2))
    alpha_here, alpha_elsewhere = both[1].alpha[0], check_on(slot_of(3))[1][1].alpha[0]
    _, honest = attack_p1(header, both, TARGET, alpha_elsewhere, "fresh alpha")
    assert failure(honest) == ("TamperDetected", "Prep4")
    _, fooled = attack_p1(header, both, TARGET, alpha_here, "fresh alpha")
    assert fooled.result == [(true_kappa(slot_of(2)) + TARGET) % (1 << 32)]


# -- row 3: commit and open; a vanished peer is a harmless crash -------------------------


def test_an_unconditional_opening_and_a_harmless_crash_give_alpha_away() -> None:
    alpha = (number(drawn("window alpha 0", 16)), number(drawn("window alpha 1", 16)))
    for attempt in range(20):
        # Both have committed; P0 opens; P1, whose share was shifted by 1, reads and "crashes".
        seed0, seed1 = seeds(f"crash {attempt}")
        both = shares_under(alpha, f"crash {attempt}")
        kappa = (both[0].kappa[0] + both[1].kappa[0]) & M128
        opened = prepare.sigma(both[0], [(kappa + 1) & M128], seed0, seed1)
        honest = prepare.sigma(both[1], [kappa], seed0, seed1)
        chi = chi_of(seed0, seed1)
        if chi % 2:
            found = (-honest - opened) * pow(chi, -1, 1 << 128) & M128
            break
    else:
        raise AssertionError("chi was even twenty times")
    assert found == alpha[0]
    # After the restart it is the same window, so the same alpha: a forged kappa passes.
    both = shares_under(alpha, "after the crash")
    seed0, seed1 = seeds("after the crash")
    kappa = (both[0].kappa[0] + both[1].kappa[0]) & M128
    sigma0 = prepare.sigma(both[0], [(kappa + TARGET) & M128], seed0, seed1)
    forged = prepare.sigma(both[1], [kappa], seed0, seed1) + chi_of(seed0, seed1) * found * TARGET
    assert (sigma0 + forged) & M128 == 0


def attack_p0(slot: Slot, believed: int, label: str) -> Actor[list[int]]:
    """The programs' P0 against a P1 whose share is shifted by 1."""
    header, both = check_on(slot)
    seed0, seed1 = seeds(label)
    honest, _ = meet(
        prepare_p0(header, both[0], seed0, NONCES),
        lambda first: shifting_p1(header, both[1], 1, believed, seed1, first),
    )
    return honest


def test_p0_opens_its_check_value_to_nobody_who_could_not_compute_it() -> None:
    for number_ in range(10):
        honest = attack_p0(slot_of(number_), 0, f"opening {number_}")
        assert failure(honest) == ("TamperDetected", "Prep3")
        assert [name for name, _ in honest.sent] == ["Prep0", "Prep2"]


def test_p0_opens_its_check_value_to_who_knows_its_alpha() -> None:
    slot = slot_of(0)
    fooled = attack_p0(slot, slot.sides[0].alpha, "opening 0")
    assert [name for name, _ in fooled.sent] == ["Prep0", "Prep2", "Prep4"]


# -- row 4: chi from a hash of the transcript --------------------------------------------

WIDTH = 20  # of the ring, so that the grinding is quick: chi times the error must vanish mod 2^20
SMALL_TARGET = 1 << 8


def small_chi(*parts: bytes) -> list[int]:
    """Two coefficients of the narrow ring."""
    content = hashlib.sha256(b"".join(parts)).digest()
    return [int.from_bytes(content[i : i + 4], "little") % (1 << WIDTH) for i in (0, 4)]


def passes(chi: list[int], errors: list[int], alpha: int) -> bool:
    """The check in the narrow ring: what errors in two openings leave of sigma^0 + sigma^1."""
    error = sum(c * e for c, e in zip(chi, errors, strict=True))
    return alpha * error % (1 << WIDTH) == 0


def ground(coin: bytes) -> list[int] | None:
    """Errors whose chi, hashed from the shares and the coin, lets the target error pass.

    The bits above the target error are not used, so they are free to try.
    """
    for free in range(1 << 13):
        errors = [SMALL_TARGET + (free >> 11 << 9), free % (1 << 11) << 9]
        chi = small_chi(u128(errors[0]) + u128(errors[1]), coin)
        if passes(chi, errors, alpha=1):
            return errors
    return None


def test_shares_can_be_ground_until_a_chi_hashed_from_them_suits() -> None:
    found = 0
    for attempt in range(8):
        slot = bytes([attempt])  # whatever else is in the transcript
        errors = ground(slot)
        if errors is not None:
            chi = small_chi(u128(errors[0]) + u128(errors[1]), slot)
            assert all(passes(chi, errors, alpha) for alpha in (3, 77777, 524287))
            found += 1
    assert found > 2


def test_shares_ground_for_one_chi_do_not_pass_with_a_tossed_one() -> None:
    errors = next(e for e in (ground(bytes([attempt])) for attempt in range(8)) if e)
    for coin in range(200):
        chi = small_chi(drawn(f"coin {coin}", 32))
        assert not passes(chi, errors, alpha=77777)


def suiting_seed(seed1: bytes) -> bytes:
    """A seed0 with which chi ends in eight zero bits, so that an error of 2^120 passes."""
    return next(
        seed0
        for seed0 in (drawn(f"ground {i}", 32) for i in range(1 << 14))
        if chi_of(seed0, seed1) % (1 << 8) == 0
    )


def test_a_seed_ground_after_the_peers_seed_does_not_open_the_commitment() -> None:
    header, both = check_on(slot_of(4))
    committed, seed1 = seeds("ground")

    def replace_seed(name: str, message: Message) -> Message:
        if name == "Prep0":
            first = (both[0].kappa[0] + (1 << 120)) & M128
            return message | {"kappa": u128(first)}
        return message | {"seed": suiting_seed(seed1)} if name == "Prep2" else message

    _, honest = meet(
        prepare.p0(header, both[0], committed, *NONCES, replace_seed),
        lambda first: prepare_p1(header, both[1], seed1, first),
    )
    assert failure(honest) == ("TamperDetected", "Prep2")


def test_a_seed_ground_with_knowledge_of_the_peers_seed_lets_an_error_pass() -> None:
    header, both = check_on(slot_of(4))
    _, seed1 = seeds("ground")

    def shift(name: str, message: Message) -> Message:
        first = (both[0].kappa[0] + (1 << 120)) & M128
        return message | {"kappa": u128(first)} if name == "Prep0" else message

    _, fooled = meet(
        prepare.p0(header, both[0], suiting_seed(seed1), *NONCES, shift),
        lambda first: prepare_p1(header, both[1], seed1, first),
    )
    assert fooled.result == [true_kappa(slot_of(4)) % (1 << 32)]
