"""Kernels and material equal the published vectors, and the reference on random inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import dcf, fixedpoint, hashing, params, prg, ring, shares
from shared.sets import SetName
from tests import reference
from tests.reference import blocks, face, make_vectors
from tests.reference import dcf as reference_dcf
from tests.vector_files import FOLDER, elements, hex_all, load, words64

FEW = settings(max_examples=20, deadline=None)


# -- the files themselves --------------------------------------------------------------


def test_making_the_vectors_again_gives_the_same_bytes() -> None:
    made = make_vectors.make()
    assert sorted(made) == sorted(path.name for path in FOLDER.iterdir())
    for name, content in made.items():
        assert (FOLDER / name).read_bytes() == content, name


def test_the_reference_imports_no_program() -> None:
    for path in Path(str(reference.__file__)).parent.glob("*.py"):
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        roots = {w[1].split(".")[0] for w in lines if len(w) > 1 and w[0] in ("import", "from")}
        assert not roots & {"shared", "party", "dealer", "camera", "perf"}, path.name


# -- the reference against known answers and the definition -----------------------------


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "8ea2b7ca516745bfeafc49904b496089",
        ),
    ],
)
def test_the_reference_block_cipher_gives_the_answers_of_fips_197(key: str, answer: str) -> None:
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert blocks.aes(bytes.fromhex(key), block).hex() == answer


@pytest.mark.parametrize("payloads", [(0xFEDCBA9876543211, 0), (0, 0xFEDCBA9876543211), (3, 5)])
def test_the_reference_dcf_is_the_comparison_at_all_points_of_six_bits(
    payloads: tuple[int, int],
) -> None:
    key = bytes(range(16))
    for a in range(64):
        roots = tuple(blocks.number(blocks.digest("root", a, j)[:16]) for j in (0, 1))
        words = reference_dcf.generate(6, key, (roots[0], roots[1]), a, *payloads)
        for x in range(64):
            both = [reference_dcf.evaluate(6, key, j, roots[j], words, x) for j in (0, 1)]
            assert both[0] ^ both[1] == payloads[0 if x < a else 1]


def test_the_reference_bits_are_the_plaintext_bits() -> None:
    vectors = load("match")
    threshold = vectors["params"]["threshold"]
    bits = next(case for case in vectors["cases"] if case["role"] == "p1")["bits"]
    distances = [person["distances"] for person in vectors["faces"]]
    assert bits == [[int(d < threshold) for d in row] for row in distances]
    assert {threshold - 1, threshold, threshold + 1} <= {row[0] for row in distances}


# -- hashing and parameters ------------------------------------------------------------


def test_digests_equal_the_vectors() -> None:
    vectors = load("hashing")
    for case in vectors["cases"]:
        fields = [bytes.fromhex(f["hex"]) if isinstance(f, dict) else f for f in case["fields"]]
        assert hashing.digest(case["label"], *fields).hex() == case["digest"], case["label"]
    assert params.Parameters(**vectors["params"]).digest().hex() == vectors["params_digest"]
    mint_id, window, camera = next(
        case["fields"] for case in vectors["cases"] if case["label"] == "set"
    )
    name = SetName(bytes.fromhex(mint_id["hex"]), window, camera)
    assert name.set_id().hex() == vectors["set_id"]


# -- blocks ----------------------------------------------------------------------------


def test_blocks_slot_keys_and_coefficients_equal_the_vectors() -> None:
    vectors = load("prg")
    key = bytes.fromhex(vectors["key"])
    slots = np.array([row["slot"] for row in vectors["slot_keys"]], dtype=np.uint64)
    found = {domain: prg.expand(key, slots, domain, 2) for domain in range(1, 10)}
    for row in vectors["blocks"]:
        if row["index"] < 2:
            at = int(np.flatnonzero(slots == row["slot"])[0])
            block = found[row["domain"]][at, row["index"]]
            assert block.tobytes().hex() == row["block"], row
    keys = prg.slot_keys(bytes.fromhex(vectors["set_digest"]), slots)
    assert [k.tobytes().hex() for k in keys] == [row["key"] for row in vectors["slot_keys"]]
    chi = prg.coefficients(bytes.fromhex(vectors["coefficient_seed"]), 5)
    assert [c.tobytes().hex() for c in chi] == vectors["coefficients"]


@FEW
@given(
    key=st.binary(min_size=32, max_size=32),
    slot=st.integers(0, 2**64 - 1),
    domain=st.integers(0, 2**32 - 1),
    count=st.integers(1, 9),
)
def test_blocks_equal_the_reference(key: bytes, slot: int, domain: int, count: int) -> None:
    found = prg.expand(key, np.array([slot], dtype=np.uint64), domain, count)[0]
    wanted = [blocks.u128(blocks.block(key, slot, domain, i)) for i in range(count)]
    assert [block.tobytes() for block in found] == wanted


# -- DCF -------------------------------------------------------------------------------


def dcf_params(bits: int, places: int) -> params.Parameters:
    """Parameters with a DCF domain of this many bits."""
    return params.Parameters(
        dim=1,
        fraction_bits=1,
        headroom_bits=bits - 1,
        places=places,
        threshold=0,
        face_bound=0,
        entry_bound=0,
        model="dcf",
    )


def test_dcf_keys_and_evaluations_equal_the_vectors() -> None:
    for vector in load("dcf")["keys"]:
        chosen = dcf_params(vector["bits"], 1)
        key = elements([vector["slot_key"]])
        roots = [elements([text], 1, 1) for text in vector["roots"]]
        beta_lt, beta_ge = words64([vector["beta_lt"]]), words64([vector["beta_ge"]])
        words = np.zeros((1, chosen.slot_match_bytes), dtype=np.uint8)
        point = np.array([[vector["point"]]], dtype=np.uint32)
        dcf.generate(chosen, key, roots[0], roots[1], point, beta_lt[None], beta_ge[None], words)
        assert words.tobytes().hex() == vector["words"]
        for x, *wanted in vector["evaluations"]:
            for party in (0, 1):
                out = np.zeros((1, 1), dtype=np.uint64)
                z = np.array([[x]], dtype=np.uint32)
                dcf.evaluate(chosen, party, key, roots[party], words, z, out)
                assert out.tobytes().hex() == wanted[party], (vector["bits"], x, party)


@FEW
@given(data=st.data(), bits=st.integers(6, 31), places=st.sampled_from([1, 5, 16, 18]))
def test_dcf_equals_the_reference(data: st.DataObject, bits: int, places: int) -> None:
    def numbers(bound: int) -> list[int]:
        return data.draw(st.lists(st.integers(0, bound), min_size=places, max_size=places))

    chosen = dcf_params(bits, places)
    key = data.draw(st.binary(min_size=16, max_size=16))
    roots = [[reference_dcf.clear(r) for r in numbers(2**128 - 1)] for _ in (0, 1)]
    points, inputs = numbers(2**bits - 1), numbers(2**bits - 1)
    below, not_below = numbers(2**64 - 1), numbers(2**64 - 1)
    wanted = [
        reference_dcf.generate(bits, key, (roots[0][p], roots[1][p]), points[p], b, n)
        for p, (b, n) in enumerate(zip(below, not_below, strict=True))
    ]
    tiles = [wanted[first : first + 16] for first in range(0, places, 16)]
    keys = elements([key.hex()])
    root_arrays = [elements([blocks.u128(r).hex() for r in row], 1, places) for row in roots]
    words = np.zeros((1, chosen.slot_match_bytes), dtype=np.uint8)
    dcf.generate(
        chosen,
        keys,
        root_arrays[0],
        root_arrays[1],
        np.array([points], dtype=np.uint32),
        np.array([below], dtype=np.uint64),
        np.array([not_below], dtype=np.uint64),
        words,
    )
    assert words.tobytes() == b"".join(reference_dcf.tile(tile) for tile in tiles)
    for party in (0, 1):
        out = np.zeros((1, places), dtype=np.uint64)
        z = np.array([inputs], dtype=np.uint32)
        dcf.evaluate(chosen, party, keys, root_arrays[party], words, z, out)
        answers = [
            reference_dcf.evaluate(bits, key, party, roots[party][p], wanted[p], inputs[p])
            for p in range(places)
        ]
        assert out[0].tolist() == answers


# -- material --------------------------------------------------------------------------


@pytest.mark.parametrize("made", load("material")["sets"], ids=lambda made: made["camera"])
def test_what_each_side_expands_equals_the_vectors(made: dict[str, Any]) -> None:
    chosen = params.Parameters(**made["params"])
    d, places = chosen.coordinates, chosen.places
    slots = np.array([slot["slot"] for slot in made["slots"]], dtype=np.uint64)
    keys, states = hex_all(made["keys"]), hex_all(made["states"])
    assert (
        SetName(bytes.fromhex(made["mint_id"]), made["window"], made["camera"]).digest().hex()
        == made["set_digest"]
    )
    for party in (0, 1):
        key, ratchet = keys[party], shares.RatchetTable(states[party])
        found = {
            "r": shares.input_shares(key, ratchet, slots, d),
            "rho": shares.rho_shares(key, slots, places),
            "roots": shares.dcf_roots(key, slots, places),
        }
        if party == 0:
            found["r_mac"] = shares.input_macs_p0(key, slots, d)
            found["rho_mac"] = shares.rho_macs_p0(key, slots, places)
        alphas, deltas = shares.alphas(key, slots), shares.deltas(key, party, slots)
        for at, slot in enumerate(made["slots"]):
            side = slot["sides"][party]
            assert alphas[at].tobytes().hex() == side["alpha"]
            assert deltas[at].tobytes().hex() == side["delta"]
            for name, values in found.items():
                assert [v.tobytes().hex() for v in values[at]] == side[name], (party, name)
    slot_keys = prg.slot_keys(bytes.fromhex(made["set_digest"]), slots)
    assert [k.tobytes().hex() for k in slot_keys] == [slot["slot_key"] for slot in made["slots"]]


@pytest.mark.parametrize("made", load("material")["sets"], ids=lambda made: made["camera"])
def test_the_cameras_mask_equals_the_vectors(made: dict[str, Any]) -> None:
    chosen = params.Parameters(**made["params"])
    ratchets = [shares.Ratchet(state) for state in hex_all(made["states"])]
    for slot in made["slots"]:
        numbers = np.array([slot["slot"]], dtype=np.uint64)
        lows = [
            shares.low_limbs(next(iter(r.keys(numbers).values())), numbers, chosen.coordinates)
            for r in ratchets
        ]
        assert (lows[0] + lows[1])[0].tolist() == slot["camera_mask"]


def test_ratchet_keys_equal_the_vectors() -> None:
    vectors = load("prg")
    ratchet = shares.Ratchet(bytes.fromhex(vectors["state"]))
    for row in vectors["ratchet"]:
        keys = ratchet.keys([64 * row["block"], 64 * row["block"] + 63])
        assert {block: key.hex() for block, key in keys.items()} == {row["block"]: row["key"]}
        assert ratchet.state().reveal().hex() == row["state"]


@pytest.mark.parametrize("made", load("material")["sets"], ids=lambda made: made["camera"])
def test_macs_and_products_in_the_ring_fit_the_vectors(made: dict[str, Any]) -> None:
    for slot in made["slots"]:
        zero, one = slot["sides"]
        alpha = ring.add(elements([zero["alpha"]]), elements([one["alpha"]]))
        for value, mac in (("r", "r_mac"), ("rho", "rho_mac")):
            total = ring.add(elements(zero[value]), elements(one[value]))
            product = ring.mul(np.ascontiguousarray(np.broadcast_to(alpha, total.shape)), total)
            macs = ring.add(elements(zero[mac]), elements(one[mac]))
            assert product.tobytes() == macs.tobytes()


# -- faces -----------------------------------------------------------------------------


def test_public_numbers_of_faces_equal_the_vectors() -> None:
    vectors = load("match")
    chosen = params.Parameters(**vectors["params"])
    entries = np.array([e["coordinates"] for e in vectors["entries"].values()], dtype=np.int64)
    rows, constants = fixedpoint.entry_matrix(entries)
    masked = np.array([person["e"] for person in vectors["faces"]], dtype=np.uint32)
    kappa = np.array([person["kappa"] for person in vectors["faces"]], dtype=np.int64)
    z = ring.public_product_mod32(rows, masked).astype(np.int64)
    z = (z + constants - chosen.threshold + kappa) % (1 << chosen.n)
    assert z.tolist() == [person["z"] for person in vectors["faces"]]


@FEW
@given(
    x=st.lists(st.integers(-9000, 9000), min_size=3, max_size=3),
    c=st.lists(st.integers(-9000, 9000), min_size=3, max_size=3),
)
def test_the_face_input_gives_the_distance(x: list[int], c: list[int]) -> None:
    inputs = fixedpoint.face_input(np.array([x], dtype=np.int64))
    rows, constants = fixedpoint.entry_matrix(np.array([c], dtype=np.int64))
    product = int(ring.public_product_mod32(rows, inputs)[0, 0])
    assert (product + int(constants[0]) - face.distance(x, c)) % 2**32 == 0
    assert rows[0].tolist() == face.entry_row(c)
    assert int(constants[0]) == face.entry_constant(c)
