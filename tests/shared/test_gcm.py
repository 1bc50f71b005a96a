"""The kernel of AES-256-GCM against the `cryptography` package and published vectors."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import gcm, kernels
from shared.errors import FormatError
from shared.gcm import TAG_BYTES, Gcm
from tests.support.guarded import guarded

needs_kernel = pytest.mark.skipif(
    not gcm._possible(), reason="needs VAES and carry-less products on 256 bits"
)

# McGrew and Viega, The Galois/Counter Mode of Operation, test cases 13 to 16:
# key, nonce, associated data, plaintext, ciphertext, tag.
KEY = "feffe9928665731c6d6a8f9467308308" * 2
TEXT = (
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255"
)
CIPHER = (
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
)
VECTORS = [
    ("00" * 32, "00" * 12, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
    (
        "00" * 32,
        "00" * 12,
        "",
        "00" * 16,
        "cea7403d4d606b6e074ec5d3baf39d18",
        "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    (KEY, "cafebabefacedbaddecaf888", "", TEXT, CIPHER, "b094dac5d93471bdec1a502270e3cc6c"),
    (
        KEY,
        "cafebabefacedbaddecaf888",
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        TEXT[:120],
        CIPHER[:120],
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
]


@needs_kernel
@pytest.mark.parametrize(("key", "nonce", "also", "text", "cipher", "tag"), VECTORS)
def test_published_vectors_come_out(
    key: str, nonce: str, also: str, text: str, cipher: str, tag: str
) -> None:
    one = Gcm(bytes.fromhex(key))
    out = bytearray(len(text) // 2 + TAG_BYTES)
    one.encrypt_into(bytes.fromhex(nonce), bytes.fromhex(text), bytes.fromhex(also), out)
    assert out.hex() == cipher + tag
    plain = bytearray(len(text) // 2)
    one.decrypt_into(bytes.fromhex(nonce), out, bytes.fromhex(also), plain)
    assert plain.hex() == text


@needs_kernel
@settings(max_examples=150, deadline=None)
@given(
    size=st.one_of(st.integers(0, 600), st.integers(0, 5000)),
    also=st.integers(0, 70),
    seed=st.integers(0, 1 << 32),
)
def test_any_length_gives_what_the_package_gives(size: int, also: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    key, nonce, associated, text = (rng.bytes(n) for n in (32, 12, also, size))
    out = bytearray(size + TAG_BYTES)
    assert Gcm(key).encrypt_into(nonce, text, associated, out) == len(out)
    assert bytes(out) == AESGCM(key).encrypt(nonce, text, associated)
    plain = bytearray(size)
    assert Gcm(key).decrypt_into(nonce, out, associated, plain) == size
    assert bytes(plain) == text


@needs_kernel
@pytest.mark.parametrize("size", [0, 1, 15, 16, 255, 256, 257, 511, 512, 513, 800])
def test_nothing_beyond_the_buffers_is_touched(size: int) -> None:
    rng = np.random.default_rng(size)
    key, nonce = rng.bytes(32), guarded(np.frombuffer(rng.bytes(12), dtype=np.uint8))
    text = guarded(np.frombuffer(rng.bytes(size), dtype=np.uint8))
    also = guarded(np.frombuffer(rng.bytes(21), dtype=np.uint8))
    out = guarded(np.zeros(size + TAG_BYTES, dtype=np.uint8))
    Gcm(key).encrypt_into(nonce.data, text.data, also.data, out.data)
    assert out.tobytes() == AESGCM(key).encrypt(nonce.tobytes(), text.tobytes(), also.tobytes())
    plain = guarded(np.zeros(size, dtype=np.uint8))
    Gcm(key).decrypt_into(nonce.data, out.data, also.data, plain.data)
    assert np.array_equal(plain, text)


@needs_kernel
@pytest.mark.parametrize("size", [5, 300])
def test_a_changed_bit_anywhere_is_refused_and_nothing_comes_out(size: int) -> None:
    key, nonce, also = bytes(range(32)), bytes(12), b"where"
    sealed = AESGCM(key).encrypt(nonce, bytes([7]) * size, also)
    one = Gcm(key)
    for place in [*range(0, len(sealed), 13), len(sealed) - 1]:
        changed = bytearray(sealed)
        changed[place] ^= 1 << place % 8
        out = bytearray(b"\xa5" * size)
        with pytest.raises(InvalidTag):
            one.decrypt_into(nonce, changed, also, out)
        assert out == bytes(size)
    for wrong in ((bytes(11) + b"\1", sealed, also), (nonce, sealed, b"there")):
        with pytest.raises(InvalidTag):
            one.decrypt_into(*wrong, bytearray(size))
    with pytest.raises(InvalidTag):
        one.decrypt_into(nonce, sealed[:15], also, bytearray(0))


@needs_kernel
def test_buffers_and_keys_of_other_sizes_are_refused() -> None:
    with pytest.raises(FormatError, match="key"):
        Gcm(bytes(16))
    one = Gcm(bytes(32))
    for nonce, room in ((bytes(12), 20), (bytes(8), 21), (bytes(12), 22)):
        with pytest.raises(FormatError, match="nonce"):
            one.encrypt_into(nonce, bytes(5), None, bytearray(room))
    with pytest.raises(FormatError):
        one.decrypt_into(bytes(12), bytes(21), None, bytearray(6))


@needs_kernel
def test_a_dropped_cipher_overwrites_its_keys_and_does_not_print_them() -> None:
    one = Gcm(bytes(range(32)))
    tables = one._tables
    assert tables.any()
    assert repr(one) == "Gcm"
    del one
    assert not tables.any()


@pytest.mark.parametrize("name", list(kernels.available()))
def test_the_kernel_serves_where_it_is_the_faster_one(
    choose: pytest.MonkeyPatch, name: str
) -> None:
    choose.setenv("TWOKEY_KERNEL", name)
    wanted = Gcm if name == "vaes256" and gcm._possible() else AESGCM
    assert isinstance(gcm.aead(bytes(32)), wanted)
