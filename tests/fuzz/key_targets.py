"""Targets: keys, and the audit log that one party hands to the other."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from party.audit import check_chain, compare
from party.auditfile import load as load_audit
from shared import documents
from shared.errors import TwokeyError
from shared.keys import Identity, load_identity, parse_public_identity
from shared.trust import TrustedIdentities, identity_file_name
from shared.windowkeys import load_private_window_key, load_window_key, private_path
from tests.fuzz.mutation import Syntax
from tests.fuzz.scratch import Scratch
from tests.fuzz.target import Finding, Target, same
from tests.fuzz.world import WINDOW, World

_WINDOW_KEY = ("role", "name", "identity", "window", "start_ms", "end_ms", "key", "signature")


def key_targets(world: World) -> Iterator[Target]:
    private = Scratch(world.scratch / "identity")
    own = world.identity("p0")
    public = own.public_file()

    def public_identity(data: bytes) -> None:
        found = parse_public_identity(data, "input")
        same((found.signing_key, found), (own.public.signing_key, own.public))

    def private_identity(data: bytes) -> None:
        found = load_identity(private.write(data))
        # Not signed: what is read must be the same after it is written again.
        same(load_identity(private.write(found.private_file())).public, found.public)

    yield Target("public identity", public_identity, (public,), Syntax.JSON)
    yield Target(
        "private identity", private_identity, (own.private_file(),), Syntax.JSON, share=0.5
    )
    trusted = Scratch(world.scratch / "trusted" / identity_file_name("p0", own.name))

    def trust(data: bytes) -> None:
        trusted.write(data)
        same(TrustedIdentities(trusted.path.parent).the("p0"), own.public)

    yield Target("trusted identity", trust, (public,), Syntax.JSON, share=0.5)
    yield from _window_key_targets(world, own)
    yield from _audit_targets(world, own)


def _window_key_targets(world: World, own: Identity) -> Iterator[Target]:
    published = Scratch(world.scratch / "published-key")
    original = (
        world.folder / "published" / f"p0-{own.name}.{WINDOW.id}.window-key.json"
    ).read_bytes()
    expected = world.window_key("p0")[0]

    def public(data: bytes) -> None:
        same(load_window_key(published.write(data), own.public, WINDOW.id), expected)

    def signed_anew(data: bytes) -> None:
        data = _signed_window_key(own, data)
        found = load_window_key(published.write(data), own.public, WINDOW.id)
        try:
            found.seal(b"secret", b"info")
        except TwokeyError as error:
            raise Finding(f"a key that was taken can not be sealed to: {error}") from error

    yield Target("window key", public, (original,), Syntax.JSON)
    yield Target("window key, signed anew", signed_anew, (original,), Syntax.JSON)
    state = world.scratch / "state"
    private = Scratch(private_path(state, WINDOW.id))
    content = private_path(world.state("p0"), WINDOW.id).read_bytes()

    def private_key(data: bytes) -> None:
        private.write(data)
        found = load_private_window_key(state, WINDOW.id, "p0", own.name)
        same((found.role, found.name, found.window.id), ("p0", own.name, WINDOW.id))
        found.destroy()

    yield Target("private window key", private_key, (content,), Syntax.JSON, share=0.5)


def _signed_window_key(own: Identity, data: bytes) -> bytes:
    """The document with a right signature, where it has the fields that are signed."""
    try:
        document = documents.Document(data, "window key", _WINDOW_KEY, "input")
        fields = (
            document.text("role"),
            document.octets("identity", 32),
            document.text("window"),
            document.integer("start_ms"),
            document.integer("end_ms"),
            document.octets("key", 1216),
        )
        values: dict[str, documents.Value] = dict(orjson.loads(data))
        signature = own.sign("window key file", *fields).hex()
        del values["twokey"], values["version"]
        return documents.render("window key", {**values, "signature": signature})
    except (TwokeyError, ValueError):
        return data


def _audit_targets(world: World, own: Identity) -> Iterator[Target]:
    exported = Scratch(world.scratch / "audit")
    original = world.read("audit")

    def load(data: bytes) -> None:
        records = load_audit(exported.write(data), own.public)
        check_chain(records)
        compare(records, records)

    def signed_anew(data: bytes) -> None:
        load(_signed_audit(own, data))

    yield Target("exported audit log", load, (original,), Syntax.JSON_LINES)
    yield Target("exported audit log, signed anew", signed_anew, (original,), Syntax.JSON_LINES)


def _signed_audit(own: Identity, data: bytes) -> bytes:
    """The log with a right signature of its last record, where it has one."""
    try:
        *records, _ = data.splitlines()
        last = orjson.loads(records[-1])
        head = (last["sequence"], bytes.fromhex(last["digest"]))
        signature = own.sign("audit log", "p0", own.name, *head)
        end = orjson.dumps({"records": head[0], "signature": signature.hex()})
    except (ValueError, TypeError, KeyError, IndexError, OverflowError):
        return data
    return b"\n".join([*records, end, b""])
