from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np
import pytest

from dealer.mint import MintScratch, SetSeeds, mint_slots
from shared.errors import (
    AuthenticationFailed,
    ConfigError,
    FormatError,
    HeaderMismatch,
    InputError,
)
from shared.headerfile import PRELUDE_BYTES
from shared.keys import SIGNATURE_BYTES, create_identity
from shared.materialfile import CameraSeeds, ChunkKind, MaterialFile, PartySeeds
from shared.materialheader import (
    FORMAT,
    Header,
    Recipient,
    chunk_slots,
    decode_header,
    read_header,
    seal_info,
)
from shared.materialwriter import MaterialWriter, seal_header
from shared.secret import Secret
from shared.sets import SetName
from shared.windowkeys import TAG_BYTES, WindowKey
from tests.material_support import SMALL, WIDE, WINDOW, People, make_people, make_recipient

SLOTS = 70
NAME = SetName(b"attempt no. 1 ..", WINDOW.id, "door")
CONTENT_KEY = b"c" * 32


class Material(NamedTuple):
    """A small set's three files, and what they were made of."""

    people: People
    paths: dict[str, Path]
    seeds: SetSeeds
    match: np.ndarray[Any, np.dtype[np.uint8]]
    prepare: np.ndarray[Any, np.dtype[np.uint8]]


def write(
    path: Path,
    people: People,
    recipient: WindowKey,
    match: np.ndarray[Any, np.dtype[np.uint8]],
    prepare: np.ndarray[Any, np.dtype[np.uint8]],
    seeds: PartySeeds | CameraSeeds,
    name: SetName = NAME,
) -> None:
    signed = seal_header(people.dealer, recipient, SMALL, name, SLOTS, seeds, CONTENT_KEY)
    with MaterialWriter(path, signed, CONTENT_KEY) as writer:
        for kind, rows in ((ChunkKind.MATCH, match), (ChunkKind.PREPARE, prepare)):
            per_chunk = signed.header.chunk_slots(kind)
            # In any order: the later chunks first.
            for number in reversed(range(signed.header.chunks(kind))):
                writer.write_chunk(kind, number, rows[number * per_chunk :][:per_chunk])
        writer.finish()
        writer.commit()


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    people = make_people(folder, "door")
    seeds = SetSeeds(*(Secret(bytes([i]) * 32) for i in range(1, 5)))
    match = np.empty((SLOTS, SMALL.slot_match_bytes), dtype=np.uint8)
    prepare = np.empty((SLOTS, SMALL.slot_prepare_bytes), dtype=np.uint8)
    scratch = MintScratch(SMALL, SLOTS)
    mint_slots(SMALL, NAME.digest(), seeds, seeds.ratchets(), 0, scratch, match, prepare)
    paths = {role: folder / f"{role}.tkm" for role in ("p0", "p1", "camera")}
    write(paths["p0"], people, people.p0.public, match, prepare, seeds.party(0))
    write(paths["p1"], people, people.p1.public, match, prepare, seeds.party(1))
    door = people.cameras["door"].public
    write(paths["camera"], people, door, match, prepare, seeds.camera())
    return Material(people, paths, seeds, match, prepare)


def opened(material: Material, role: str, path: Path | None = None, **changes: Any) -> MaterialFile:
    arguments: dict[str, Any] = {
        "dealer": material.people.dealer.public,
        "window_key": material.people.of(role).private,
        "params": SMALL,
        "camera": "door",
        "mint_id": NAME.mint_id,
    }
    return MaterialFile.open(path or material.paths[role], **{**arguments, **changes})


def contents(file: MaterialFile, kind: ChunkKind) -> bytes:
    buffer = bytearray(file.chunk_bytes(kind))
    chunks = range(file.header.chunks(kind))
    return b"".join(bytes(file.read_chunk(kind, number, buffer)) for number in chunks)


# -- round trip ------------------------------------------------------------------------


def test_each_recipient_reads_what_was_made_for_it(material: Material) -> None:
    for party, role in enumerate(("p0", "p1")):
        with opened(material, role) as file:
            expected = material.seeds.party(party)
            assert file.party_seeds().key.reveal() == expected.key.reveal()
            assert file.party_seeds().ratchet.reveal() == expected.ratchet.reveal()
            assert contents(file, ChunkKind.MATCH) == material.match.tobytes()
            prepared = contents(file, ChunkKind.PREPARE)
            assert prepared == (material.prepare.tobytes() if party else b"")
            with pytest.raises(InputError, match="expected a camera's"):
                file.camera_seeds()
    with opened(material, "camera") as file:
        camera = file.camera_seeds()
        assert camera.ratchet0.reveal() == material.seeds.ratchet0.reveal()
        assert camera.ratchet1.reveal() == material.seeds.ratchet1.reveal()
        assert [file.header.chunks(kind) for kind in ChunkKind] == [0, 0]
        with pytest.raises(InputError, match="expected a party's"):
            file.party_seeds()


def test_chunks_are_read_in_any_order_into_one_buffer(material: Material) -> None:
    with opened(material, "p1") as file:
        assert file.header.match_chunk_slots == 64
        buffer = np.zeros(file.chunk_bytes(ChunkKind.MATCH) + 9, dtype=np.uint8)
        last = file.read_chunk(ChunkKind.MATCH, 1, buffer)
        assert bytes(last) == material.match[64:].tobytes()
        first = file.read_chunk(ChunkKind.MATCH, 0, buffer)
        assert bytes(first) == material.match[:64].tobytes()
        assert buffer[: len(first)].tobytes() == bytes(first)
        assert not buffer[len(first) :].any()


def test_threads_may_share_a_file(material: Material) -> None:
    right: list[bool] = []

    def read(file: MaterialFile, number: int) -> None:
        buffer = bytearray(file.chunk_bytes(ChunkKind.MATCH))
        expected = material.match[number * 64 :][:64].tobytes()
        right.extend(
            bytes(file.read_chunk(ChunkKind.MATCH, number, buffer)) == expected for _ in range(50)
        )

    with opened(material, "p0") as file:
        threads = [threading.Thread(target=read, args=(file, i % 2)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert right == [True] * 200


def test_the_size_follows_from_the_header(material: Material) -> None:
    for path in material.paths.values():
        signed = read_header(path)
        assert path.stat().st_size == signed.file_bytes
    assert material.paths["camera"].stat().st_size < 2000


def test_a_chunk_that_is_not_there_or_a_small_buffer_is_refused(material: Material) -> None:
    with opened(material, "p0") as file:
        big = bytearray(file.chunk_bytes(ChunkKind.MATCH))
        for kind, number in ((ChunkKind.MATCH, 2), (ChunkKind.MATCH, -1), (ChunkKind.PREPARE, 0)):
            with pytest.raises(InputError, match="of them"):
                file.read_chunk(kind, number, big)
        with pytest.raises(InputError, match="chunk buffer"):
            file.read_chunk(ChunkKind.MATCH, 0, big[:-1])


def test_a_closed_file_has_no_keys(material: Material) -> None:
    file = opened(material, "p0")
    seeds = file.party_seeds()
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read_chunk(ChunkKind.MATCH, 0, bytearray(1 << 16))
    with pytest.raises(ValueError, match="destroyed"):
        seeds.key.reveal()


@pytest.mark.parametrize("role", ["p0", "p1", "camera"])
def test_secrets_stand_nowhere_in_the_file(material: Material, role: str) -> None:
    content = material.paths[role].read_bytes()
    seeds = material.seeds
    for secret in (seeds.key0, seeds.key1, seeds.ratchet0, seeds.ratchet1):
        assert secret.reveal() not in content
    assert CONTENT_KEY not in content
    assert material.match[0, :32].tobytes() not in content


@pytest.mark.parametrize(
    ("recipient", "match", "prepare"), [("p0", 4, 0), ("p1", 4, 64), ("camera", 0, 0)]
)
def test_chunks_hold_a_power_of_two_of_slots(
    recipient: Recipient, match: int, prepare: int
) -> None:
    assert chunk_slots(WIDE, recipient, ChunkKind.MATCH) == match
    assert chunk_slots(WIDE, recipient, ChunkKind.PREPARE) == prepare
    huge = replace(WIDE, places=1 << 20)
    assert chunk_slots(huge, "p1", ChunkKind.MATCH) == 1
    assert chunk_slots(huge, "p1", ChunkKind.PREPARE) == 1


# -- the wrong reader ------------------------------------------------------------------


@pytest.mark.parametrize("role", ["p0", "p1", "camera"])
def test_nobody_else_opens_a_file(material: Material, role: str, tmp_path: Path) -> None:
    for other in {"p0", "p1", "camera"} - {role}:
        with pytest.raises(AuthenticationFailed, match=f"made for {role}, opened by {other}"):
            opened(material, other, material.paths[role])
    name = {"p0": "north", "p1": "south", "camera": "door"}[role]
    same_name = make_recipient(tmp_path, role, name)  # type: ignore[arg-type]
    with pytest.raises(AuthenticationFailed, match="another key of this window"):
        opened(material, role, window_key=same_name.private)
    pretender = replace(same_name.private, key_id=material.people.of(role).private.key_id)
    with pytest.raises(AuthenticationFailed, match="does not open"):
        opened(material, role, window_key=pretender)


def test_a_reader_that_expects_something_else_is_told_what(material: Material) -> None:
    expectations: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"camera": "gate"}, HeaderMismatch, "found camera door, expected gate"),
        ({"mint_id": bytes(16)}, HeaderMismatch, "found mint id"),
        (
            {"params": replace(SMALL, threshold=21)},
            HeaderMismatch,
            "other parameters: threshold 20, expected 21$",
        ),
        (
            {"dealer": create_identity("dealer", "dealer").public},
            AuthenticationFailed,
            "another dealer",
        ),
    ]
    for changes, error, message in expectations:
        with pytest.raises(error, match=message):
            opened(material, "p0", **changes)
    opened(material, "p0", mint_id=None).close()


@pytest.mark.parametrize(
    "window",
    [
        replace(WINDOW, id="sunday"),
        replace(WINDOW, start_ms=WINDOW.start_ms - 1),
        replace(WINDOW, end_ms=WINDOW.end_ms + 1),
    ],
    ids=["id", "start", "end"],
)
def test_a_file_of_another_window_is_refused(material: Material, window: Any) -> None:
    key = replace(material.people.p0.private, window=window)
    with pytest.raises(HeaderMismatch, match="found window monday"):
        opened(material, "p0", window_key=key)


# -- forged headers --------------------------------------------------------------------


def parts(path: Path) -> tuple[dict[str, Any], bytes, bytes]:
    """Header map, signature, chunks."""
    content = path.read_bytes()
    length = int.from_bytes(content[12:16], "little")
    end = PRELUDE_BYTES + length
    found = msgpack.unpackb(content[PRELUDE_BYTES:end])
    return found, content[end : end + SIGNATURE_BYTES], content[end + SIGNATURE_BYTES :]


def forge(
    material: Material, role: str, target: Path, change: Callable[[dict[str, Any]], None]
) -> Path:
    """The file of this role with a changed header and the signature it had."""
    header, signature, chunks = parts(material.paths[role])
    change(header)
    body = msgpack.packb(header)
    target.write_bytes(FORMAT.prelude(len(body)) + body + signature + chunks)
    return target


VALID_FORGERIES: dict[str, Any] = {
    "mint_id": bytes(16),
    "window": "sunday",
    "start_ms": WINDOW.start_ms - 1,
    "end_ms": WINDOW.end_ms + 1,
    "camera": "gate",
    "window_key": bytes(32),
    "sealed": bytes(1232),
    "dealer": bytes(32),
}


@pytest.mark.parametrize("field", VALID_FORGERIES)
def test_every_forged_header_field_breaks_the_signature(
    material: Material, tmp_path: Path, field: str
) -> None:
    path = forge(
        material, "p0", tmp_path / "f", lambda h: h.__setitem__(field, VALID_FORGERIES[field])
    )
    with pytest.raises(AuthenticationFailed, match=r"not signed by|another dealer"):
        opened(material, "p0", path)


@pytest.mark.parametrize("field", list(SMALL.to_map()))
def test_every_forged_parameter_is_refused(material: Material, tmp_path: Path, field: str) -> None:
    def change(header: dict[str, Any]) -> None:
        value = header["params"][field]
        step = 1 if field.endswith("_bits") else -1
        header["params"][field] = "other-3" if field == "model" else value + step

    path = forge(material, "camera", tmp_path / "alone", change)
    with pytest.raises(FormatError, match="params_digest"):
        opened(material, "camera", path)

    def with_digest(header: dict[str, Any]) -> None:
        change(header)
        changed = {**header["params"]}
        header["params_digest"] = type(SMALL).from_map(changed).digest()

    path = forge(material, "camera", tmp_path / "both", with_digest)
    with pytest.raises(AuthenticationFailed, match="not signed by"):
        opened(material, "camera", path)


def test_a_file_relabelled_for_another_recipient_is_refused(
    material: Material, tmp_path: Path
) -> None:
    path = forge(material, "p0", tmp_path / "f", lambda h: h.__setitem__("recipient", "p1"))
    with pytest.raises(FormatError, match="slots in a prepare chunk"):
        opened(material, "p1", path)

    def to_p0(header: dict[str, Any]) -> None:
        header.update(recipient="p0", prepare_chunk_slots=0)

    header, signature, chunks = parts(material.paths["p1"])
    to_p0(header)
    body = msgpack.packb(header)
    prepare = read_header(material.paths["p1"]).header.body_bytes(ChunkKind.PREPARE)
    path.write_bytes(FORMAT.prelude(len(body)) + body + signature + chunks[prepare:])
    with pytest.raises(AuthenticationFailed, match="not signed by"):
        opened(material, "p0", path)


MALFORMED: dict[str, tuple[str, Any]] = {
    "params is no map": ("params", 3),
    "params lacks a field": ("params", {"dim": 3}),
    "a parameter out of range": ("params", {**SMALL.to_map(), "dim": 0}),
    "a parameter of another type": ("params", {**SMALL.to_map(), "dim": "3"}),
    "params_digest of another length": ("params_digest", bytes(31)),
    "params_digest as text": ("params_digest", "a" * 32),
    "mint_id too short": ("mint_id", bytes(15)),
    "mint_id is a number": ("mint_id", 5),
    "window is no name": ("window", "../monday"),
    "window as bytes": ("window", b"monday"),
    "start after the end": ("start_ms", WINDOW.end_ms),
    "start negative": ("start_ms", -1),
    "start is a float": ("start_ms", 1.5),
    "end before the start": ("end_ms", WINDOW.start_ms),
    "end is a bool": ("end_ms", True),
    "camera is no name": ("camera", "a/b"),
    "camera too long": ("camera", "a" * 65),
    "recipient unknown": ("recipient", "dealer"),
    "recipient is a list": ("recipient", ["p0"]),
    "window_key too long": ("window_key", bytes(33)),
    "no slots": ("slots", 0),
    "too many slots": ("slots", 1 << 32),
    "slots do not fit the size": ("slots", SLOTS - 1),
    "slots is a bool": ("slots", True),
    "prepare chunks for P0": ("prepare_chunk_slots", 64),
    "match chunks of another size": ("match_chunk_slots", 32),
    "match chunks of no slots": ("match_chunk_slots", 0),
    "sealed too short": ("sealed", bytes(1231)),
    "dealer too short": ("dealer", bytes(20)),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_header_field_is_refused(material: Material, tmp_path: Path, case: str) -> None:
    field, value = MALFORMED[case]
    path = forge(material, "p0", tmp_path / "f", lambda h: h.__setitem__(field, value))
    with pytest.raises(FormatError):
        read_header(path)
    with pytest.raises(FormatError):
        opened(material, "p0", path)


def reordered(header: dict[str, Any]) -> None:
    header["mint_id"] = header.pop("mint_id")


def reordered_parameters(header: dict[str, Any]) -> None:
    header["params"]["dim"] = header["params"].pop("dim")


def lacking(header: dict[str, Any]) -> None:
    del header["dealer"]


def surplus(header: dict[str, Any]) -> None:
    header["more"] = 1


@pytest.mark.parametrize("change", [reordered, reordered_parameters, lacking, surplus])
def test_a_header_with_other_fields_or_order_is_refused(
    material: Material, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    with pytest.raises(FormatError, match="fields"):
        opened(material, "p0", forge(material, "p0", tmp_path / "f", change))


def test_a_header_that_is_not_canonical_is_refused(material: Material) -> None:
    header, _, _ = parts(material.paths["p0"])
    body: bytes = msgpack.packb(header)
    assert isinstance(decode_header(body, "it"), Header)
    wide = body.replace(b"\xa5slots" + bytes([SLOTS]), b"\xa5slots\xcc" + bytes([SLOTS]))
    assert wide != body
    for content in (wide, body + b"\0", body[:-1], b"", b"\xc1", msgpack.packb([1])):
        with pytest.raises(FormatError):
            decode_header(content, "it")


PRELUDES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda c: b"",
    "short": lambda c: c[:15],
    "magic": lambda c: b"twokey-n" + c[8:],
    "version": lambda c: c[:8] + b"\2" + c[9:],
    "no header": lambda c: c[:12] + bytes(4) + c[16:],
    "long header": lambda c: c[:12] + (1 << 17).to_bytes(4, "little") + c[16:],
    "header past the end": lambda c: c[:12] + (60_000).to_bytes(4, "little") + c[16:5000],
    "one byte more": lambda c: c + b"\0",
    "one byte less": lambda c: c[:-1],
    "no chunks": lambda c: c[: PRELUDE_BYTES + int.from_bytes(c[12:16], "little") + 64],
    "cut in the signature": lambda c: c[: PRELUDE_BYTES + int.from_bytes(c[12:16], "little") + 9],
    "cut in the header": lambda c: c[:200],
}


@pytest.mark.parametrize("case", PRELUDES)
def test_a_file_of_another_kind_or_size_is_refused(
    material: Material, tmp_path: Path, case: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(PRELUDES[case](material.paths["p0"].read_bytes()))
    with pytest.raises(FormatError):
        opened(material, "p0", path)


def test_a_missing_file_is_told_in_one_line(material: Material, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        opened(material, "p0", tmp_path / "none")
    with pytest.raises(ConfigError, match="not found"):
        read_header(tmp_path / "none")


def test_a_folder_in_place_of_a_file_is_refused(material: Material, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, FormatError)):
        opened(material, "p0", tmp_path)


def test_the_signature_does_not_survive_another_encapsulated_key(
    material: Material, tmp_path: Path
) -> None:
    """Section 9: own chunks under the dealer's header, the content key being the attacker's."""
    people = material.people
    mallory = create_identity("dealer", "dealer")
    chosen = PartySeeds(Secret(b"m" * 32), Secret(b"n" * 32))
    forged = seal_header(mallory, people.p0.public, SMALL, NAME, SLOTS, chosen, b"x" * 32)
    path = forge(
        material, "p0", tmp_path / "f", lambda h: h.__setitem__("sealed", forged.header.sealed)
    )
    with pytest.raises(AuthenticationFailed, match="not signed by dealer"):
        opened(material, "p0", path)
    # What the signature prevents: without its check the attacker's keys would be taken.
    sealed = read_header(path).header.sealed
    info = seal_info(NAME, "p0", people.p0.public.key_id())
    assert people.p0.private.open(sealed, info, "it").reveal()[:32] == b"x" * 32


# -- chunks ----------------------------------------------------------------------------


def flip_positions(path: Path) -> Iterator[tuple[str, int]]:
    """A byte in every region of the file."""
    signed = read_header(path)
    size = len(signed.content)
    yield from (("magic", 0), ("version", 8), ("length", 12), ("header", PRELUDE_BYTES))
    yield "params", signed.content.index(b"small-3")
    yield "sealed", signed.content.index(signed.header.sealed) + 1125
    yield "last of header", size - 1
    yield from (("signature R", size), ("signature S", size + 40))
    for kind in ChunkKind:
        for number in range(signed.header.chunks(kind)):
            start, length = signed.chunk_span(kind, number)
            yield f"{kind.name} {number} first", start
            yield f"{kind.name} {number} middle", start + length // 2
            yield f"{kind.name} {number} tag", start + length - 1


def read_all(material: Material, role: str, path: Path) -> bool:
    """Whether everything in the file is accepted."""
    try:
        with opened(material, role, path) as file:
            for kind in ChunkKind:
                contents(file, kind)
    except (FormatError, AuthenticationFailed):
        return False
    return True


@pytest.mark.parametrize("role", ["p0", "p1", "camera"])
def test_a_flipped_bit_in_any_region_is_found(
    material: Material, tmp_path: Path, role: str
) -> None:
    content = material.paths[role].read_bytes()
    path = tmp_path / "f"
    path.write_bytes(content)
    assert read_all(material, role, path)
    for region, position in flip_positions(material.paths[role]):
        flipped = bytearray(content)
        flipped[position] ^= 0x10
        path.write_bytes(flipped)
        if read_all(material, role, path):
            pytest.fail(f"not found: {region}")


def test_a_tampered_chunk_leaves_the_others_readable(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "f"
    content = bytearray(material.paths["p0"].read_bytes())
    start, _ = read_header(material.paths["p0"]).chunk_span(ChunkKind.MATCH, 1)
    content[start] ^= 1
    path.write_bytes(content)
    with opened(material, "p0", path) as file:
        buffer = bytearray(file.chunk_bytes(ChunkKind.MATCH))
        assert bytes(file.read_chunk(ChunkKind.MATCH, 0, buffer)) == material.match[:64].tobytes()
        with pytest.raises(AuthenticationFailed, match="match chunk 1 is not what"):
            file.read_chunk(ChunkKind.MATCH, 1, buffer)


def transplanted(target: Path, source: Path, at: tuple[int, int], into: tuple[int, int]) -> bytes:
    content = bytearray(target.read_bytes())
    moved = source.read_bytes()[at[0] : at[0] + at[1]]
    content[into[0] : into[0] + len(moved)] = moved
    return bytes(content)


def test_a_chunk_in_another_place_or_file_is_refused(material: Material, tmp_path: Path) -> None:
    people, seeds = material.people, material.seeds
    slots = np.repeat(material.match[:1], 2 * 64, axis=0)  # two whole chunks of one length
    corrections = np.repeat(material.prepare[:1], 2 * 64, axis=0)

    def made(path: Path, recipient: WindowKey, name: SetName) -> Path:
        party = recipient.owner.role == "p1"
        signed = seal_header(
            people.dealer, recipient, SMALL, name, 128, seeds.party(party), CONTENT_KEY
        )
        with MaterialWriter(path, signed, CONTENT_KEY) as writer:
            for kind, rows in ((ChunkKind.MATCH, slots), (ChunkKind.PREPARE, corrections)):
                for number in range(signed.header.chunks(kind)):
                    writer.write_chunk(kind, number, rows[:64])
            writer.finish()
            writer.commit()
        return path

    # The same content key everywhere, so that nothing but the binding can refuse.
    own = made(tmp_path / "own", people.p0.public, NAME)
    other_mint = made(tmp_path / "mint", people.p0.public, replace(NAME, mint_id=bytes(16)))
    again = made(tmp_path / "again", people.p0.public, NAME)
    other_party = made(tmp_path / "p1", people.p1.public, NAME)
    first, second = (read_header(own).chunk_span(ChunkKind.MATCH, i) for i in (0, 1))
    of_p1 = read_header(other_party).chunk_span(ChunkKind.MATCH, 0)
    path = tmp_path / "f"
    for source, at in (
        (own, second),
        (other_mint, first),
        (again, first),
        (other_party, of_p1),
    ):
        path.write_bytes(transplanted(own, source, at, first))
        with opened(material, "p0", path) as file:
            buffer = bytearray(file.chunk_bytes(ChunkKind.MATCH))
            file.read_chunk(ChunkKind.MATCH, 1, buffer)
            with pytest.raises(AuthenticationFailed, match="match chunk 0"):
                file.read_chunk(ChunkKind.MATCH, 0, buffer)


def test_a_file_cut_while_it_is_open_is_an_error_and_no_signal(
    material: Material, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    path.write_bytes(material.paths["p0"].read_bytes())
    with opened(material, "p0", path) as file:
        with path.open("r+b") as other:
            other.truncate(path.stat().st_size - 5)
        buffer = bytearray(file.chunk_bytes(ChunkKind.MATCH))
        file.read_chunk(ChunkKind.MATCH, 0, buffer)
        with pytest.raises(FormatError, match="cut off while it was open"):
            file.read_chunk(ChunkKind.MATCH, 1, buffer)


# -- the writer ------------------------------------------------------------------------


def test_no_nonce_encrypts_twice_and_no_gap_is_finished(material: Material, tmp_path: Path) -> None:
    signed = seal_header(
        material.people.dealer,
        material.people.p0.public,
        SMALL,
        NAME,
        SLOTS,
        material.seeds.party(0),
        CONTENT_KEY,
    )
    path = tmp_path / "f"
    with MaterialWriter(path, signed, CONTENT_KEY) as writer:
        writer.write_chunk(ChunkKind.MATCH, 0, material.match[:64])
        with pytest.raises(InputError, match="written already"):
            writer.write_chunk(ChunkKind.MATCH, 0, material.match[:64])
        with pytest.raises(InputError, match="bytes, expected"):
            writer.write_chunk(ChunkKind.MATCH, 1, material.match[:5])
        with pytest.raises(InputError, match="match chunk 1 was never written"):
            writer.finish()
        with pytest.raises(InputError, match="not finished"):
            writer.commit()
        assert not path.exists()
    assert list(tmp_path.iterdir()) == []


def test_keys_of_another_recipient_window_or_camera_are_not_sealed_to(
    material: Material, tmp_path: Path
) -> None:
    people, seeds = material.people, material.seeds

    def seal(recipient: WindowKey, name: SetName, party_seeds: PartySeeds | CameraSeeds) -> None:
        seal_header(people.dealer, recipient, SMALL, name, SLOTS, party_seeds, CONTENT_KEY)

    with pytest.raises(InputError, match="window key for monday"):
        seal(people.p0.public, replace(NAME, window="sunday"), seeds.party(0))
    with pytest.raises(InputError, match="window key of camera door"):
        seal(people.cameras["door"].public, replace(NAME, camera="gate"), seeds.camera())
    with pytest.raises(InputError, match="not for camera"):
        seal(people.cameras["door"].public, NAME, seeds.party(0))
    with pytest.raises(InputError, match="not for p0"):
        seal(people.p0.public, NAME, seeds.camera())
    with pytest.raises(InputError, match="receives no material"):
        seal(replace(people.p0.public, owner=people.dealer.public), NAME, seeds.party(0))
    with pytest.raises(InputError, match="32 bytes each"):
        seal(people.p0.public, NAME, PartySeeds(Secret(b"short"), Secret(bytes(32))))


def test_the_tag_is_all_that_a_chunk_adds(material: Material) -> None:
    signed = read_header(material.paths["p1"])
    spans = [signed.chunk_span(kind, i) for kind in ChunkKind for i in range(2)]
    ends = [start + length for start, length in spans]
    assert [start for start, _ in spans] == [signed.chunks_offset, *ends[:-1]]
    assert ends[-1] == signed.file_bytes
    total = SLOTS * (SMALL.slot_match_bytes + SMALL.slot_prepare_bytes)
    assert sum(length for _, length in spans) == total + 4 * TAG_BYTES
