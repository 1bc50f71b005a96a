from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    InputError,
)
from shared.keys import (
    ROLES,
    Identity,
    PublicIdentity,
    create_identity,
    load_identity,
    load_public_identity,
    parse_public_identity,
)
from shared.roles import init_role
from shared.trust import TrustedIdentities, identity_file_name, read_offered

OTHER_KEY = "ab" * 32


@pytest.fixture(scope="module")
def identity() -> Identity:
    return create_identity("p0", "north")


def edited(content: bytes, **changes: Any) -> bytes:
    document = json.loads(content)
    document.update(changes)
    return json.dumps({k: v for k, v in document.items() if v is not None}).encode()


def test_a_saved_identity_is_read_back_whole(identity: Identity, tmp_path: Path) -> None:
    identity.save(tmp_path / "private", tmp_path / "public")
    again = load_identity(tmp_path / "private", "p0")
    assert again.public == identity.public == load_public_identity(tmp_path / "public", "p0")
    assert again.sign("x", 1) == identity.sign("x", 1)
    assert again.curve_pair() == identity.curve_pair()
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


def test_an_identity_never_replaces_one_that_is_there(identity: Identity, tmp_path: Path) -> None:
    identity.save(tmp_path / "private", tmp_path / "public")
    before = (tmp_path / "private").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        create_identity("p0", "north").save(tmp_path / "private", tmp_path / "public")
    assert (tmp_path / "private").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["private", "public"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o700, 0o601])
def test_a_private_file_that_is_too_open_is_refused(
    identity: Identity, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "private"
    identity.save(path, tmp_path / "public")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"permissions {mode:04o}, expected 0600"):
        load_identity(path)


def test_a_link_or_folder_in_place_of_the_private_file_is_refused(
    identity: Identity, tmp_path: Path
) -> None:
    identity.save(tmp_path / "private", tmp_path / "public")
    (tmp_path / "link").symlink_to(tmp_path / "private")
    for path in (tmp_path / "link", tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigError):
            load_identity(path)


def test_secrets_are_in_no_repr(identity: Identity) -> None:
    private = json.loads(identity.private_file())
    for shown in (repr(identity), str(identity), repr(identity.curve_pair())):
        assert private["signing_secret"] not in shown
        assert private["curve_secret"] not in shown


def test_a_private_file_with_keys_that_do_not_belong_together_is_refused(
    identity: Identity, tmp_path: Path
) -> None:
    other = json.loads(create_identity("p0", "north").private_file())
    for name in ("signing_secret", "curve_secret", "signing_key", "curve_key"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_bytes(edited(identity.private_file(), **{name: other[name]}))
        with pytest.raises(FormatError, match="do not belong together") as caught:
            load_identity(path)
        assert other[name] not in str(caught.value)


FORGED_FIELDS = {
    "role": "p1",
    "name": "south",
    "signing_key": OTHER_KEY,
    "curve_key": "a" * 40,
    "signature": "00" * 64,
}


@pytest.mark.parametrize("name", FORGED_FIELDS)
def test_every_forged_field_of_a_public_identity_is_refused(identity: Identity, name: str) -> None:
    content = edited(identity.public_file(), **{name: FORGED_FIELDS[name]})
    with pytest.raises(AuthenticationFailed):
        parse_public_identity(content, "here")


MALFORMED: list[dict[str, Any]] = [
    {"twokey": "window key"},
    {"version": 2},
    {"version": True},
    {"role": "judge"},
    {"role": 1},
    {"name": 7},
    {"signing_key": OTHER_KEY.upper()},
    {"signing_key": OTHER_KEY[2:]},
    {"signing_key": " " + OTHER_KEY},
    {"signing_key": 12},
    {"curve_key": "a" * 41},
    {"curve_key": "~" * 40},
    {"signature": "xx"},
    {"signature": None},
    {"extra": "field"},
]


@pytest.mark.parametrize("changes", MALFORMED, ids=str)
def test_a_public_identity_out_of_form_is_refused(
    identity: Identity, changes: dict[str, Any]
) -> None:
    with pytest.raises(FormatError, match="here"):
        parse_public_identity(edited(identity.public_file(), **changes), "here")


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"[]", b"null", b"{", b"[" * 100_000, b'{"twokey": NaN}', b"1" * 10_000],
)
def test_what_is_no_document_is_refused(content: bytes) -> None:
    with pytest.raises(FormatError):
        parse_public_identity(content, "here")


def test_a_field_given_twice_is_refused(identity: Identity) -> None:
    content = identity.public_file().replace(b'"role"', b'"role": "p0", "role"')
    with pytest.raises(FormatError, match="twice"):
        parse_public_identity(content, "here")


def test_an_unfit_name_is_refused(identity: Identity) -> None:
    with pytest.raises(InputError):
        create_identity("camera", "../door")
    with pytest.raises(InputError):
        parse_public_identity(edited(identity.public_file(), name="a/b"), "here")


def test_a_signature_holds_for_its_label_fields_and_signer_alone(identity: Identity) -> None:
    signature = identity.sign("label", 1, b"x")
    identity.public.verify(signature, "it", "label", 1, b"x")
    other = create_identity("p0", "north").public
    trials: list[tuple[PublicIdentity, bytes, str, tuple[int, bytes]]] = [
        (other, signature, "label", (1, b"x")),
        (identity.public, signature, "labe", (1, b"x")),
        (identity.public, signature, "label", (2, b"x")),
        (identity.public, signature, "label", (1, b"y")),
        (identity.public, signature[:-1], "label", (1, b"x")),
        (identity.public, bytes(64), "label", (1, b"x")),
    ]
    for public, forged, label, fields in trials:
        with pytest.raises(AuthenticationFailed):
            public.verify(forged, "it", label, *fields)


def test_a_fingerprint_is_ten_groups_and_depends_on_every_field(identity: Identity) -> None:
    public = identity.public
    groups = public.fingerprint().split(" ")
    assert [len(g) for g in groups] == [4] * 10
    others = [
        PublicIdentity("p1", public.name, public.signing_key, public.curve_key),
        PublicIdentity(public.role, "other", public.signing_key, public.curve_key),
        PublicIdentity(public.role, public.name, bytes(32), public.curve_key),
        PublicIdentity(public.role, public.name, public.signing_key, b"a" * 40),
    ]
    assert len({p.fingerprint() for p in [public, *others]}) == 5


def test_init_makes_a_role_folder_once(tmp_path: Path) -> None:
    folder, identity, public = init_role(tmp_path / "role", "p1", "south")
    assert folder.state.stat().st_mode & 0o777 == 0o700
    assert load_public_identity(public, "p1") == identity.public
    assert folder.identity("p1").public == identity.public
    assert folder.trusted().everybody() == []
    with pytest.raises(ConfigError, match="exists already"):
        init_role(tmp_path / "role", "p1", "south")
    assert folder.identity("p1").public == identity.public
    with pytest.raises(AuthenticationFailed, match="found role p1, expected p0"):
        folder.identity("p0")


def offered(tmp_path: Path, identity: Identity) -> tuple[PublicIdentity, bytes]:
    path = tmp_path / "offered.json"
    path.write_bytes(identity.public_file())
    return read_offered(path)


def test_trusted_identities_are_found_by_role_and_name(tmp_path: Path) -> None:
    made = {role: create_identity(role, f"the-{role}") for role in ROLES}
    trusted = TrustedIdentities(tmp_path / "trusted")
    assert all(trusted.add(*offered(tmp_path, identity)) for identity in made.values())
    assert not trusted.add(*offered(tmp_path, made["p0"]))
    again = TrustedIdentities(tmp_path / "trusted")
    assert again.the("dealer") == made["dealer"].public
    assert again.camera("the-camera") == made["camera"].public
    assert again.cameras() == [made["camera"].public]
    assert again.named("authority", "the-authority") == made["authority"].public
    assert len(again.everybody()) == 5
    with pytest.raises(ConfigError, match="not trusted"):
        again.camera("door")


def test_nobody_takes_the_place_of_a_trusted_identity(tmp_path: Path) -> None:
    trusted = TrustedIdentities(tmp_path / "trusted")
    trusted.add(*offered(tmp_path, create_identity("p0", "north")))
    trusted.add(*offered(tmp_path, create_identity("camera", "door")))
    for role, name in (("p0", "north"), ("p0", "elsewhere"), ("camera", "door")):
        with pytest.raises(ConfigError, match="remove its file first"):
            trusted.add(*offered(tmp_path, create_identity(role, name)))  # type: ignore[arg-type]
    assert trusted.add(*offered(tmp_path, create_identity("camera", "gate")))


def test_a_trusted_file_under_another_name_is_refused(identity: Identity, tmp_path: Path) -> None:
    (tmp_path / identity_file_name("p1", "north")).write_bytes(identity.public_file())
    with pytest.raises(ConfigError, match="expected in a file"):
        TrustedIdentities(tmp_path)
