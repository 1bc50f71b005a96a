"""Targets: the dealer's files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgpack
import numpy as np

from shared.chunkcipher import ChunkCipher
from shared.codec import unpack_canonical
from shared.engine_file import EngineFile
from shared.engine_header import FORMAT as ENGINE_FORMAT
from shared.engine_header import decode_engine_header, read_engine_header
from shared.engine_plan import parse_kind
from shared.errors import FormatError, InputError
from shared.hashing import digest
from shared.headerfile import PRELUDE_BYTES
from shared.masked_file import MaskedHeader, read_masked
from shared.materialfile import MaterialFile
from shared.materialheader import (
    FORMAT,
    ChunkKind,
    Header,
    decode_header,
    read_header,
    seal_info,
)
from shared.params import Parameters
from shared.private_plan import PrivateShape
from shared.secret import Secret
from shared.windowkeys import parse_time
from tests.fuzz.mutation import Syntax
from tests.fuzz.scratch import Scratch
from tests.fuzz.target import Check, Target, same
from tests.fuzz.world import WINDOW, World, parameters


def file_targets(world: World) -> Iterator[Target]:
    """Everything below."""
    yield from _material_targets(world)
    yield from _engine_targets(world)
    yield from _masked_targets(world)
    yield Target("time", _time, (b"2026-11-20T00:00:00Z", b"2026-11-20T00:00:00.5+02:00"))
    yield Target("kind of engine material", _kind, (b"triple", b"matmul:3x4x5", b"input:0"))


# -- material --------------------------------------------------------------------------


def _material_targets(world: World) -> Iterator[Target]:
    scratch = Scratch(world.scratch / "material.tkm")
    originals = {role: world.material(role).read_bytes() for role in ("p0", "p1", "camera")}
    bodies = tuple(read_header(world.material(role)).content[PRELUDE_BYTES:] for role in originals)
    dealer = world.identity("dealer")
    keys = {role: world.window_key(role)[1] for role in originals}

    def opened(path: Path, role: str) -> MaterialFile:
        params = parameters()
        return MaterialFile.open(
            path, dealer=dealer.public, window_key=keys[role], params=params, camera="door"
        )

    def header(body: bytes) -> None:
        same(decode_header(body, "input").encode()[PRELUDE_BYTES:], body)

    def whole(data: bytes) -> None:
        with opened(scratch.write(data), "p1") as file:
            for kind in ChunkKind:
                for number in range(file.header.chunks(kind)):
                    file.read_chunk(kind, number, bytearray(file.chunk_bytes(kind)))
        same(data, originals["p1"])

    def signed_anew(body: bytes) -> None:
        content = FORMAT.prelude(len(body)) + body
        data = content + dealer.sign("material file", content)
        signed = read_header_of(scratch, data, lambda: read_header(scratch.path).file_bytes)
        with opened(scratch.write(data, signed), "p0") as file:
            same(_bound(file.header), _bound(read_header(world.material("p0")).header))

    yield Target("material header", header, bodies, Syntax.MSGPACK, share=2)
    yield Target("material file", whole, tuple(originals.values()))
    yield Target("material header, signed anew", signed_anew, bodies, Syntax.MSGPACK)
    signed = read_header(world.material("p0"))
    name = signed.header.set_name()
    info = seal_info(name, "p0", signed.header.window_key)
    yield Target("sealed keys", _sealed(keys["p0"].open, info), (signed.header.sealed,))
    key = bytes(range(32))
    chunk = bytearray(80 + 16)
    cipher = signed.cipher(key)
    cipher.encrypt(ChunkKind.MATCH, 1, bytes(80), memoryview(chunk))
    yield Target(
        "material chunk", _chunk(cipher, ChunkKind.MATCH, 1, bytes(chunk)), (bytes(chunk),)
    )
    yield Target(
        "parameters", _parameters, (bytes(msgpack.packb(parameters().to_map())),), Syntax.MSGPACK
    )


def _bound(header: Header) -> tuple[object, ...]:
    """What the seal binds: a file that opens has these, whatever else its dealer signed."""
    return header.set_name(), header.recipient, header.window_key, header.params


def read_header_of(scratch: Scratch, data: bytes, size: Callable[[], int]) -> int:
    """The size that the file must have for this header; of a sparse file, so that none is large."""
    scratch.write(data)
    try:
        return size()
    except FormatError as error:
        _, found, rest = str(error).partition(" bytes, expected ")
        return int(rest) if found and rest.isdigit() else 0


def _sealed(open_it: Callable[[bytes, bytes, str], Secret], info: bytes) -> Check:
    def check(data: bytes) -> None:
        # Whoever can seal knows the public key: a finding is only an error that has no type.
        open_it(data, info, "input").destroy()

    return check


def _chunk(cipher: ChunkCipher, stream: int, number: int, original: bytes) -> Check:
    def check(data: bytes) -> None:
        if len(data) < 16:  # the reader's spans are never shorter
            raise FormatError("chunk: no room for a tag")
        out = memoryview(bytearray(len(data) - 16))
        cipher.decrypt(stream, number, memoryview(data), out, "input")
        same(data, original)

    return check


def _parameters(data: bytes) -> None:
    found = Parameters.from_map(unpack_canonical(data, "input"))
    again = Parameters.from_map(found.to_map())
    same((again, again.digest()), (found, found.digest()))


# -- the engine ------------------------------------------------------------------------


def _engine_targets(world: World) -> Iterator[Target]:
    scratch = Scratch(world.scratch / "session.tke")
    roles = ("p0", "p1", "client")
    originals = {role: world.engine_material(role).read_bytes() for role in roles}
    headers = {role: read_engine_header(world.engine_material(role)) for role in roles}
    bodies = tuple(signed.content[PRELUDE_BYTES:] for signed in headers.values())
    dealer = world.identity("dealer")
    keys = {"p0": world.window_key("p0")[1], "p1": world.window_key("p1")[1]}

    def header(body: bytes) -> None:
        found = decode_engine_header(body, "input")
        same(found.encode()[PRELUDE_BYTES:], body)
        with suppress(InputError):  # of a session that is not for private matching
            PrivateShape.of(found, "input")

    def whole(data: bytes) -> None:
        path = scratch.write(data)
        with EngineFile.open(path, dealer=dealer.public, window_key=keys["p1"]) as file:
            for stream in file.header.streams():
                for number in range(stream.chunks):
                    out = np.empty(stream.items(number) * stream.item_bytes, dtype=np.uint8)
                    file.read_chunk(stream, number, out)
        same(data, originals["p1"])

    def signed_anew(body: bytes) -> None:
        content = ENGINE_FORMAT.prelude(len(body)) + body
        data = content + dealer.sign("engine file", content)
        size = read_header_of(scratch, data, lambda: _engine_size(scratch.path))
        path = scratch.write(data, size)
        with EngineFile.open(path, dealer=dealer.public, window_key=keys["p0"]) as file:
            found, expected = file.header, headers["p0"].header
            same((found.set_digest(), found.recipient), (expected.set_digest(), "p0"))

    yield Target("engine header", header, bodies, Syntax.MSGPACK, share=2)
    yield Target("engine file", whole, tuple(originals.values()))
    yield Target("engine header, signed anew", signed_anew, bodies, Syntax.MSGPACK)
    cipher = headers["p0"].cipher(bytes(32))
    (stream, *_) = headers["p0"].header.streams()
    chunk = bytearray(64 + 16)
    cipher.encrypt(stream.number, 0, bytes(range(64)), memoryview(chunk))
    yield Target("engine chunk", _chunk(cipher, stream.number, 0, bytes(chunk)), (bytes(chunk),))


def _masked_targets(world: World) -> Iterator[Target]:
    scratch = Scratch(world.scratch / "masked.tki")
    issuer = world.identity("camera")
    elements = np.arange(12, dtype=np.uint64).reshape(6, 2)
    content = elements.tobytes()
    session = (bytes(16), WINDOW, "session", 0, issuer.public.digest(), parameters().digest(), 4)
    body = digest("masked numbers", content)
    headers = (
        MaskedHeader(*session, 2, 3, ("Ada", "Bo"), (), body),
        MaskedHeader(*session, 3, 2, (), (5, 6, 7), body),
    )
    signed = tuple(header.encode() for header in headers)

    def whole(data: bytes) -> None:
        same(read_masked(scratch.write(data)).encode(), data)

    def signed_anew(found: bytes) -> None:
        head = signed[0][:12] + len(found).to_bytes(4, "little") + found
        data = head + issuer.sign("masked file", head) + content
        file = read_masked(scratch.write(data))
        same(file.encode(), data)
        file.verify(issuer.public)

    files = tuple(head + issuer.sign("masked file", head) + content for head in signed)
    yield Target("file of masked numbers", whole, files)
    bodies = tuple(head[PRELUDE_BYTES:] for head in signed)
    name = "file of masked numbers, signed anew"
    yield Target(name, signed_anew, bodies, Syntax.MSGPACK)


def _engine_size(path: Path) -> int:
    read_engine_header(path)
    return path.stat().st_size


def _kind(data: bytes) -> None:
    text = data.decode(errors="replace")
    same(str(parse_kind(str(parse_kind(text)))), str(parse_kind(text)))


def _time(data: bytes) -> None:
    found = parse_time(data.decode(errors="replace"))
    same(type(found), int)
