from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    InputError,
    RangeError,
)
from shared.keys import Identity, create_identity
from shared.windowkeys import (
    Window,
    destroy_ended_window_keys,
    destroy_window_key,
    load_private_window_key,
    load_window_key,
    parse_time,
    private_path,
    publish_window_key,
    time_text,
    windows_ahead,
)

DAY = Window("monday", 1_700_000_000_000, 1_700_086_400_000)


@pytest.fixture(scope="module")
def identity() -> Identity:
    return create_identity("p1", "south")


@pytest.fixture
def published(identity: Identity, tmp_path: Path) -> Path:
    return publish_window_key(identity, tmp_path / "state", tmp_path / "out", DAY)


def test_what_is_sealed_opens_for_the_owner_alone(
    identity: Identity, published: Path, tmp_path: Path
) -> None:
    public = load_window_key(published, identity.public, "monday")
    private = load_private_window_key(tmp_path / "state", "monday", "p1", "south")
    assert private.window == public.window == DAY
    assert private.key_id == public.key_id()
    sealed = public.seal(b"secret", b"info")
    assert private.open(sealed, b"info", "it").reveal() == b"secret"

    publish_window_key(identity, tmp_path / "other", tmp_path / "out2", DAY)
    other = load_private_window_key(tmp_path / "other", "monday", "p1", "south")
    flipped = bytearray(sealed)
    flipped[5] ^= 1
    late = bytearray(sealed)
    late[-1] ^= 1
    for key, content, info in (
        (other, sealed, b"info"),
        (private, sealed, b"inf"),
        (private, bytes(flipped), b"info"),
        (private, bytes(late), b"info"),
        (private, sealed[:-1], b"info"),
        (private, b"", b"info"),
    ):
        with pytest.raises(AuthenticationFailed):
            key.open(content, info, "it")


def test_publishing_again_gives_the_same_key(
    identity: Identity, published: Path, tmp_path: Path
) -> None:
    before = published.read_bytes()
    published.unlink()
    assert publish_window_key(identity, tmp_path / "state", tmp_path / "out", DAY) == published
    assert published.read_bytes() == before


def test_one_window_id_has_one_span_of_time(identity: Identity, tmp_path: Path) -> None:
    publish_window_key(identity, tmp_path / "state", tmp_path / "out", DAY)
    moved = replace(DAY, end_ms=DAY.end_ms + 1)
    with pytest.raises(InputError, match="its key exists already"):
        publish_window_key(identity, tmp_path / "state", tmp_path / "out", moved)


def test_a_dealer_has_no_window_keys(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dealer"):
        publish_window_key(create_identity("dealer", "d"), tmp_path, tmp_path, DAY)


FORGED: dict[str, Any] = {
    "role": "p0",
    "name": "north",
    "identity": "00" * 32,
    "window": "sunday",
    "start_ms": DAY.start_ms - 1,
    "end_ms": DAY.end_ms + 1,
    "key": None,
    "signature": "11" * 64,
}


@pytest.mark.parametrize("name", FORGED)
def test_every_forged_field_of_a_window_key_is_refused(
    identity: Identity, published: Path, name: str
) -> None:
    document = json.loads(published.read_bytes())
    document[name] = FORGED[name] or document[name][:-2] + (
        "00" if document[name][-2:] != "00" else "01"
    )
    published.write_text(json.dumps(document))
    with pytest.raises(AuthenticationFailed):
        load_window_key(published, identity.public, "monday")


def test_a_window_key_of_another_signer_or_window_is_refused(
    identity: Identity, published: Path
) -> None:
    with pytest.raises(AuthenticationFailed, match="expected one of the trusted"):
        load_window_key(published, create_identity("p1", "south").public, "monday")
    with pytest.raises(AuthenticationFailed, match="found window monday, expected sunday"):
        load_window_key(published, identity.public, "sunday")


def test_a_signed_key_that_is_no_key_is_refused(identity: Identity, published: Path) -> None:
    document = json.loads(published.read_bytes())
    key = b"\xff" * (len(document["key"]) // 2)
    document["key"] = key.hex()
    public = identity.public
    signature = identity.sign(
        "window key file", "p1", public.digest(), "monday", DAY.start_ms, DAY.end_ms, key
    )
    document["signature"] = signature.hex()
    published.write_text(json.dumps(document))
    with pytest.raises(FormatError, match="not an ML-KEM-768 public key"):
        load_window_key(published, public, "monday")


def test_the_private_half_is_0600_and_refused_when_more_open(
    published: Path, tmp_path: Path
) -> None:
    path = private_path(tmp_path / "state", "monday")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="expected 0600"):
        load_private_window_key(tmp_path / "state", "monday", "p1", "south")


def test_a_private_key_of_another_owner_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(AuthenticationFailed, match="expected p0 south"):
        load_private_window_key(tmp_path / "state", "monday", "p0", "south")


def test_a_destroyed_key_is_overwritten_and_gone(published: Path, tmp_path: Path) -> None:
    path = private_path(tmp_path / "state", "monday")
    twin = tmp_path / "twin"
    twin.hardlink_to(path)  # the same bytes on the medium, seen after the removal
    secret = json.loads(twin.read_bytes())["secret"]
    assert destroy_window_key(tmp_path / "state", "monday")
    assert not path.exists()
    assert secret.encode() not in twin.read_bytes()
    assert set(twin.read_bytes()) == {0}
    assert not destroy_window_key(tmp_path / "state", "monday")
    with pytest.raises(ConfigError, match="not found"):
        load_private_window_key(tmp_path / "state", "monday", "p1", "south")


def test_secrets_of_a_window_key_are_in_no_repr(published: Path, tmp_path: Path) -> None:
    private = load_private_window_key(tmp_path / "state", "monday", "p1", "south")
    secret = json.loads(private_path(tmp_path / "state", "monday").read_bytes())["secret"]
    assert secret not in repr(private)
    private.destroy()
    with pytest.raises(ValueError, match="destroyed"):
        private.open(b"", b"", "it")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-11-20T00:00:00.250Z", 1_795_132_800_250),
        ("2026-11-20T01:00:00+01:00", 1_795_132_800_000),
    ],
)
def test_times_are_read_with_their_zone(text: str, expected: int) -> None:
    assert parse_time(text) == expected
    assert parse_time(time_text(expected)) == expected


@pytest.mark.parametrize("text", ["", "now", "2026-11-20T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_time_without_zone_or_sense_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_time(text)


def test_windows_ahead_follow_without_a_gap() -> None:
    assert windows_ahead(DAY, 1) == [DAY]
    three = windows_ahead(DAY, 3)
    assert [w.id for w in three] == ["monday-1", "monday-2", "monday-3"]
    assert three[0].start_ms == DAY.start_ms
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(three))
    with pytest.raises(RangeError):
        windows_ahead(DAY, 0)


@pytest.mark.parametrize(("start", "end"), [(5, 5), (6, 5), (-1, 5), (0, 1 << 60)])
def test_a_window_that_ends_before_it_begins_is_refused(start: int, end: int) -> None:
    with pytest.raises(RangeError):
        Window("w", start, end)


def test_the_keys_of_ended_windows_are_destroyed_and_no_others(
    identity: Identity, published: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    later = Window("tuesday", DAY.end_ms, DAY.end_ms + 1000)
    publish_window_key(identity, state, tmp_path / "out", later)
    assert destroy_ended_window_keys(state, DAY.end_ms - 1) == []
    assert destroy_ended_window_keys(state, DAY.end_ms) == ["monday"]
    assert not private_path(state, "monday").exists()
    assert private_path(state, "tuesday").exists()
    assert destroy_ended_window_keys(state, DAY.end_ms) == []
    assert destroy_ended_window_keys(tmp_path / "nothing", DAY.end_ms) == []
