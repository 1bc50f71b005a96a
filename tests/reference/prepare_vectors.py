"""Transcripts of prepare: an honest check, and forged ones with the error that ends them."""

from __future__ import annotations

from typing import Any

from tests.reference import prepare
from tests.reference.blocks import M128, number, u128
from tests.reference.face import entry_digest, place_map
from tests.reference.mint import mint
from tests.reference.prepare import Header, Shares
from tests.reference.roles import Actor, Lie, meet, play
from tests.reference.samples import (
    ENTRIES,
    SMALL,
    WINDOW,
    altered,
    drawn,
    material_set,
    params_map,
    plain,
)
from tests.reference.wire import Message, frames, raw

PLACES = [0, 1, 3]
NAMES = ("north", "east")
SLOTS = {"north": range(62, 65), "east": range(1)}
SEED0, SEED1 = drawn("prepare seed 0", 32), drawn("prepare seed 1", 32)
SEED_NONCE, SIGMA_NONCE = drawn("seed nonce", 16), drawn("sigma nonce", 16)


def entry_digests() -> dict[int, bytes]:
    """The digests of all entries, by place."""
    return {
        place: entry_digest(SMALL.model, f"entry {place}", coordinates)
        for place, coordinates in ENTRIES.items()
    }


def setup() -> tuple[Header, tuple[Shares, Shares]]:
    """Four slots of two cameras, three places."""
    bound = {place: content for place, content in entry_digests().items() if place in PLACES}
    header = Header(
        session=drawn("session", 32),
        check=7,
        params=SMALL.digest(),
        place_map=place_map(SMALL, WINDOW, bound),
        runs=[(material_set(n).set_id, SLOTS[n].start, len(SLOTS[n])) for n in NAMES],
        places=PLACES,
    )
    slots = [mint(SMALL, material_set(name), slot) for name in NAMES for slot in SLOTS[name]]
    shares0, shares1 = (
        prepare.shares([slot.sides[party] for slot in slots], PLACES, ENTRIES) for party in (0, 1)
    )
    return header, (shares0, shares1)


def honest_p0(header: Header, mine: Shares, lie: Lie | None = None) -> Any:
    """P0 with the fixed randomness."""
    return prepare.p0(header, mine, SEED0, SEED_NONCE, SIGMA_NONCE, lie)


def prepare_vectors() -> dict[str, Any]:
    """The set-up and all cases."""
    header, (shares0, shares1) = setup()
    actor0, actor1 = meet(
        honest_p0(header, shares0), lambda first: prepare.p1(header, shares1, SEED1, first)
    )
    to_p1, to_p0 = actor0.sent, actor1.sent
    cases = [
        case("an honest check, P0", "p0", to_p0, actor0),
        case("an honest check, P1", "p1", to_p1, actor1),
    ]
    for position, (name, message) in enumerate(to_p1):
        for field in message:
            forged = list(to_p1)
            forged[position] = (name, message | {field: altered(message[field])})
            actor = run_p1(header, shares1, forged)
            cases.append(case(f"{name}.{field} is changed on the way", "p1", forged, actor))
    for position, (name, message) in enumerate(to_p0):
        for field in message:
            forged = list(to_p0)
            forged[position] = (name, message | {field: altered(message[field])})
            actor = play(honest_p0(header, shares0), [m for _, m in forged])
            cases.append(case(f"{name}.{field} is changed on the way", "p0", forged, actor))
    cases += short_frames(header, shares0, shares1, to_p1, to_p0)
    cases += liars(header, shares0, shares1)
    return {
        "params": params_map(SMALL),
        "window": WINDOW,
        "entries": {
            str(place): {"name": f"entry {place}", "coordinates": ENTRIES[place]}
            for place in PLACES
        },
        "sets": [
            {
                "camera": name,
                "mint_id": material_set(name).mint_id.hex(),
                "keys": plain(material_set(name).keys),
                "states": plain(material_set(name).states),
                "first": SLOTS[name].start,
                "length": len(SLOTS[name]),
            }
            for name in NAMES
        ],
        "header": {
            "session": header.session.hex(),
            "check": header.check,
            "params": header.params.hex(),
            "place_map": header.place_map.hex(),
            "runs": [[set_id.hex(), first, length] for set_id, first, length in header.runs],
            "places": header.places,
        },
        "shares": [
            {name: [u128(v).hex() for v in getattr(s, name)] for name in ("kappa", "mac", "alpha")}
            for s in (shares0, shares1)
        ],
        "seeds": plain([SEED0, SEED1]),
        "seed_nonce": SEED_NONCE.hex(),
        "sigma_nonce": SIGMA_NONCE.hex(),
        "cases": cases,
    }


def run_p1(header: Header, mine: Shares, incoming: list[tuple[str, Message]]) -> Actor[list[int]]:
    """An honest P1 against these messages."""
    messages = [message for _, message in incoming]
    return play(prepare.p1(header, mine, SEED1, messages[0]), messages[1:])


def short_frames(
    header: Header,
    shares0: Shares,
    shares1: Shares,
    to_p1: list[tuple[str, Message]],
    to_p0: list[tuple[str, Message]],
) -> list[dict[str, Any]]:
    """One share too few."""
    prep0 = to_p1[0][1] | {"kappa": raw(to_p1[0][1], "kappa")[:-16]}
    prep1 = to_p0[0][1] | {"kappa": raw(to_p0[0][1], "kappa")[:-16]}
    short1, short0 = [("Prep0", prep0), *to_p1[1:]], [("Prep1", prep1), *to_p0[1:]]
    actor0 = play(honest_p0(header, shares0), [m for _, m in short0])
    return [
        case("Prep0 has a share too few", "p1", short1, run_p1(header, shares1, short1)),
        case("Prep1 has a share too few", "p0", short0, actor0),
    ]


def liars(header: Header, shares0: Shares, shares1: Shares) -> list[dict[str, Any]]:
    """A corrupt party that shifts a share of its own and computes on with it."""
    cases = []
    for shift in (0, SMALL.n - 1, SMALL.n, 64, 127):

        def lie(name: str, message: Message, shift: int = shift) -> Message:
            if "kappa" not in message:
                return message
            content = raw(message, "kappa")
            first = u128((number(content[:16]) + (1 << shift)) & M128)
            return message | {"kappa": first + content[16:]}

        liar, honest = meet(
            honest_p0(header, shares0, lie), lambda m: prepare.p1(header, shares1, SEED1, m)
        )
        name = f"shifts its first share by 2^{shift}"
        cases.append(case(f"P0 {name}", "p1", liar.sent, honest))
        honest, liar = meet(
            honest_p0(header, shares0),
            lambda m, lie=lie: prepare.p1(header, shares1, SEED1, m, lie),  # type: ignore[misc]
        )
        cases.append(case(f"P1 {name}", "p0", liar.sent, honest))
    return cases


def case(
    name: str, role: str, incoming: list[tuple[str, Message]], actor: Actor[list[int]]
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
    return result | {"kappa": [u128(v).hex() for v in actor.result]}
