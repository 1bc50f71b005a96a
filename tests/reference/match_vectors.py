"""Transcripts of match: an honest batch, and forged ones with the error that ends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.reference import match, prepare
from tests.reference.blocks import M128, u64
from tests.reference.face import distance, mask, place_map
from tests.reference.match import Batch, Bits, Tags
from tests.reference.mint import MaterialSet, Slot, mint
from tests.reference.prepare_vectors import entry_digests
from tests.reference.roles import Actor, meet, play
from tests.reference.samples import (
    ENTRIES,
    FACES,
    SMALL,
    WINDOW,
    altered,
    drawn,
    material_set,
    params_map,
    plain,
)
from tests.reference.wire import Message, frames, raw

LIVE = [0, 1, 3, 4]
NONCE = drawn("confirm nonce", 16)
# Each run is one camera message: camera, first slot, faces.
RUNS = [("north", 63, FACES[:2]), ("east", 0, FACES[2:5]), ("north", 66, FACES[5:])]


@dataclass(frozen=True)
class Face:
    """A face in its slot: what is secret, and what both parties see of it."""

    slot: Slot
    x: list[int]
    e: list[int]
    kappa: dict[int, int]


def faces() -> list[Face]:
    """All faces of the batch, in its order."""
    made = []
    for camera, first, embeddings in RUNS:
        material = material_set(camera)
        for number, x in enumerate(embeddings, first):
            slot = mint(SMALL, material, number)
            made.append(Face(slot, x, mask(SMALL, material, number, x), kappas(slot, LIVE)))
    return made


def kappas(slot: Slot, places: list[int]) -> dict[int, int]:
    """What prepare opens for these places."""
    zero, one = (prepare.shares([side], places, ENTRIES).kappa for side in slot.sides)
    return {p: (a + b) & M128 for p, a, b in zip(places, zero, one, strict=True)}


def camera_messages(everyone: list[Face]) -> list[Message]:
    """One message per run."""
    made, at = [], 0
    for camera, first, embeddings in RUNS:
        count = len(embeddings)
        times = [1_932_940_800_000 + 40 * (first + i) for i in range(count)]
        masked = [person.e for person in everyone[at : at + count]]
        material = material_set(camera)
        made.append(match.camera_message(SMALL, material, first, times, masked))
        at += count
    return made


def batch_of(messages: list[Message]) -> Batch:
    """The batch of these camera messages."""
    sets: list[MaterialSet] = [material_set(camera) for camera, _, _ in RUNS]
    bound = {place: content for place, content in entry_digests().items() if place in LIVE}
    return Batch(
        session=drawn("session", 32),
        number=3,
        params=SMALL.digest(),
        place_map=place_map(SMALL, WINDOW, bound),
        places=SMALL.places,
        runs=[
            (material, first, len(embeddings), match.faces_digest(message))
            for material, (_, first, embeddings), message in zip(sets, RUNS, messages, strict=True)
        ],
        live=LIVE,
    )


def tags_of(party: int, everyone: list[Face], entries: dict[int, list[int]]) -> Tags:
    """A party's tags for all faces and live places."""
    rows = []
    for person in everyone:
        row = []
        for place in LIVE:
            z = match.public_z(SMALL, entries[place], person.e, person.kappa[place])
            row.append(match.tag(SMALL, person.slot, person.slot.sides[party], place, z))
        rows.append(row)
    return Tags(rows, [person.slot.sides[party].delta for person in everyone])


def match_vectors() -> dict[str, Any]:
    """The set-up and all cases."""
    everyone = faces()
    messages = camera_messages(everyone)
    batch = batch_of(messages)
    tags0, tags1 = (tags_of(party, everyone, ENTRIES) for party in (0, 1))
    actor0, actor1 = meet(match.p0(batch, tags0), lambda m: match.p1(batch, tags1, NONCE, m))
    cases = [
        case("an honest batch, P0", "p0", actor1.sent, actor0),
        case("an honest batch, P1", "p1", actor0.sent, actor1),
    ]
    cases += changed(batch, tags0, tags1, actor0.sent, actor1.sent)
    cases += liars(batch, tags0, tags1, everyone)
    return {
        "params": params_map(SMALL),
        "window": WINDOW,
        "entries": {
            str(place): {"name": f"entry {place}", "coordinates": ENTRIES[place]} for place in LIVE
        },
        "faces": [face_map(person) for person in everyone],
        "camera_messages": [plain(frames("Faces", message)) for message in messages],
        "header": {
            "session": batch.session.hex(),
            "batch": batch.number,
            "params": batch.params.hex(),
            "place_map": batch.place_map.hex(),
            "places": batch.places,
            "live": batch.live,
            "runs": [
                {
                    "mint_id": material.mint_id.hex(),
                    "window": material.window,
                    "camera": material.camera,
                    "keys": plain(material.keys),
                    "states": plain(material.states),
                    "first": first,
                    "length": length,
                    "faces": faces_digest.hex(),
                }
                for material, first, length, faces_digest in batch.runs
            ],
        },
        "tags": [
            {
                "tags": [[u64(tag).hex() for tag in row] for row in tags.tags],
                "delta": [u64(delta).hex() for delta in tags.delta],
            }
            for tags in (tags0, tags1)
        ],
        "nonce": NONCE.hex(),
        "cases": cases,
    }


def face_map(person: Face) -> dict[str, Any]:
    """A face, its mask, and per live place what leads to the bit."""
    zs = [match.public_z(SMALL, ENTRIES[p], person.e, person.kappa[p]) for p in LIVE]
    return {
        "slot": person.slot.number,
        "x": person.x,
        "e": person.e,
        "kappa": [person.kappa[place] % (1 << SMALL.n) for place in LIVE],
        "z": zs,
        "distances": [distance(person.x, ENTRIES[place]) for place in LIVE],
    }


def changed(
    batch: Batch,
    tags0: Tags,
    tags1: Tags,
    to_p1: list[tuple[str, Message]],
    to_p0: list[tuple[str, Message]],
) -> list[dict[str, Any]]:
    """Every field of every message changed on the way; wrong lengths and padding."""
    cases = []
    padded = {"bits": lambda content: bytes([content[0] ^ 1 << len(LIVE)]) + content[1:]}
    short = {"bits": lambda content: content[:-1]}
    for role, incoming in (("p1", to_p1), ("p0", to_p0)):
        for position, (name, message) in enumerate(incoming):
            changes: list[tuple[str, Message]] = [
                (f"{name}.{field} is changed on the way", {field: altered(message[field])})
                for field in message
            ]
            if "bits" in message:
                content = raw(message, "bits")
                changes.append((f"{name} has a padding bit", {"bits": padded["bits"](content)}))
                changes.append((f"{name} has a face too few", {"bits": short["bits"](content)}))
            for title, change in changes:
                forged = list(incoming)
                forged[position] = (name, message | change)
                heard = [m for _, m in forged]
                if role == "p1":
                    actor = play(match.p1(batch, tags1, NONCE, heard[0]), heard[1:])
                else:
                    actor = play(match.p0(batch, tags0), heard)
                cases.append(case(title, role, forged, actor))
    return cases


def liars(batch: Batch, tags0: Tags, tags1: Tags, everyone: list[Face]) -> list[dict[str, Any]]:
    """A corrupt party that claims to use the same inputs, and computes on with others."""
    other_e = [
        Face(p.slot, p.x, [p.e[0] ^ 1, *p.e[1:]], p.kappa) if i == 1 else p
        for i, p in enumerate(everyone)
    ]
    other_slot = [
        Face(everyone[1].slot, p.x, p.e, everyone[1].kappa) if i == 0 else p
        for i, p in enumerate(everyone)
    ]
    other_entry = ENTRIES | {0: [3, -4, 1]}
    lies = {
        "flips its first bit share": None,
        "uses another e": (other_e, ENTRIES),
        "uses another entry": (everyone, other_entry),
        "uses another slot": (other_slot, ENTRIES),
    }

    def flip(name: str, message: Message) -> Message:
        return message | {"bits": altered(raw(message, "bits"))} if "bits" in message else message

    def keep(name: str, message: Message) -> Message:
        return message

    cases = []
    for title, used in lies.items():
        lie = keep if used else flip
        mine0, mine1 = (tags_of(j, *used) for j in (0, 1)) if used else (tags0, tags1)
        liar, honest = meet(match.p0(batch, mine0, lie), lambda m: match.p1(batch, tags1, NONCE, m))
        cases.append(case(f"P0 {title}", "p1", liar.sent, honest))
        honest, liar = meet(
            match.p0(batch, tags0),
            lambda m, mine=mine1, lie=lie: match.p1(  # type: ignore[misc]
                batch, mine, NONCE, m, lie
            ),
        )
        cases.append(case(f"P1 {title}", "p0", liar.sent, honest))
    return cases


def case(
    name: str, role: str, incoming: list[tuple[str, Message]], actor: Actor[Bits]
) -> dict[str, Any]:
    """What the role hears and says, and how it ends."""
    result: dict[str, Any] = {
        "name": name,
        "role": role,
        "incoming": [plain(frames(*message)) for message in incoming],
        "sent": plain(actor.wire()),
    }
    if actor.failed:
        return result | {"must_fail": actor.failed.kind, "at": actor.failed.message}
    if actor.result is None:
        raise ValueError(f"{name}: the role did not end")
    return result | {"bits": actor.result}
