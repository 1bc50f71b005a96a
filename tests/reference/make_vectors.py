"""Writes tests/vectors/v1: run `python -m tests.reference.make_vectors` at the top of the tree.

Everything is derived from fixed labels, so that the same bytes come out every time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.reference import blocks, dcf, face, mint
from tests.reference.match_vectors import match_vectors
from tests.reference.prepare_vectors import prepare_vectors
from tests.reference.samples import SMALL, TWO_TILES, drawn, material_set, params_map, plain, typed
from tests.reference.wire_vectors import wire_vectors

FOLDER = Path(__file__).parent.parent / "vectors" / "v1"


def hashing_vectors() -> dict[str, Any]:
    """E1: digests of labels and fields."""
    material = material_set("north")
    named = {
        "parameters": [1, *params_map(SMALL).values()],
        "set": [material.mint_id, material.window, material.camera],
        "dcf": [material.digest],
        "ratchet next": [drawn("state", 32)],
        "ratchet key": [drawn("state", 32)],
        "session": [SMALL.digest(), "2031-04-05", drawn("nonce 0", 16), drawn("nonce 1", 16)],
        "place map": [SMALL.digest(), "2031-04-05", SMALL.threshold, 3, drawn("entry", 32)],
        "step": [drawn("transcript", 32), b"", b"\x00", b"frame"],
        "chi": [drawn("coin", 32)],
    }
    cases = [
        {"label": label, "fields": [typed(v) for v in fields], "digest": digest(label, fields)}
        for label, fields in named.items()
    ]
    entry = [3, -4, 0]
    return {
        "cases": cases,
        "params": params_map(SMALL),
        "params_digest": SMALL.digest().hex(),
        "set_id": material.set_id.hex(),
        "entry": {
            "model": SMALL.model,
            "name": "Ähnlich 1",
            "coordinates": entry,
            "digest": face.entry_digest(SMALL.model, "Ähnlich 1", entry).hex(),
        },
        "place_map": {
            "window": "2031-04-05",
            "bound": {"0": drawn("entry 0", 32).hex(), "4": drawn("entry 4", 32).hex()},
            "digest": face.place_map(
                SMALL, "2031-04-05", {4: drawn("entry 4", 32), 0: drawn("entry 0", 32)}
            ).hex(),
        },
    }


def digest(label: str, fields: list[Any]) -> str:
    """The digest as text."""
    return blocks.digest(label, *fields).hex()


def prg_vectors() -> dict[str, Any]:
    """E2 and E3: blocks of every domain, the ratchet, slot keys, coefficients."""
    key, state, set_digest = drawn("key", 32), drawn("state", 32), drawn("set digest", 32)
    slots = [0, 1, 63, 64, 1000, 2**32 - 1]
    return {
        "key": key.hex(),
        "blocks": [
            {
                "slot": slot,
                "domain": domain,
                "index": index,
                "block": plain(blocks.u128(blocks.block(key, slot, domain, index))),
            }
            for slot in slots
            for domain in range(1, 10)
            for index in (0, 1, 2**32 - 1)
        ],
        "state": state.hex(),
        "ratchet": [
            {
                "block": number,
                "state": blocks.ratchet_state(state, number).hex(),
                "key": blocks.ratchet_key(state, 64 * number).hex(),
            }
            for number in (0, 1, 2, 15)
        ],
        "set_digest": set_digest.hex(),
        "slot_keys": [
            {"slot": slot, "key": blocks.slot_key(set_digest, slot).hex()} for slot in slots
        ],
        "g": [
            {"x": plain(blocks.u128(x)), "g": plain(blocks.u128(blocks.g(key[:16], x)))}
            for x in (0, 1, 2**127, int.from_bytes(drawn("x", 16), "little"))
        ],
        "coefficients": [
            plain(blocks.u128(blocks.coefficient(drawn("chi seed", 32), i))) for i in range(5)
        ],
        "coefficient_seed": drawn("chi seed", 32).hex(),
    }


def dcf_vectors() -> dict[str, Any]:
    """E4: keys and their evaluations, the smallest domain at every point."""
    keys = []
    for m, point in [(6, 0), (6, 1), (6, 37), (6, 63), (8, 200), (28, 123456789), (31, 2**31 - 1)]:
        label = f"dcf {m} {point}"
        key = drawn(label, 16)
        roots = (
            dcf.clear(blocks.number(drawn(label + " root 0", 16))),
            dcf.clear(blocks.number(drawn(label + " root 1", 16))),
        )
        beta_lt, beta_ge = (
            blocks.number(drawn(label + " below", 8)),
            blocks.number(drawn(label + " not below", 8)),
        )
        if point % 2:
            beta_ge = 0
        words = dcf.generate(m, key, roots, point, beta_lt, beta_ge)
        near = {point + step for step in (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5)}
        some = near | {0, 1, 2**m - 1, 2 ** (m - 1), 2 ** (m - 1) - 1}
        inputs = range(64) if m == 6 else sorted(x for x in some if 0 <= x < 2**m)
        keys.append(
            {
                "bits": m,
                "slot_key": key.hex(),
                "roots": [blocks.u128(root).hex() for root in roots],
                "point": point,
                "beta_lt": blocks.u64(beta_lt).hex(),
                "beta_ge": blocks.u64(beta_ge).hex(),
                "words": words.to_bytes().hex(),
                "evaluations": [
                    [
                        x,
                        *(
                            blocks.u64(dcf.evaluate(m, key, j, roots[j], words, x)).hex()
                            for j in (0, 1)
                        ),
                    ]
                    for x in inputs
                ],
            }
        )
    return {"keys": keys}


def material_vectors() -> dict[str, Any]:
    """E2, E5, E6: slots of two sets; the match and prepare bytes are a file's plaintext."""
    sets = []
    for params, name, slots in ((SMALL, "north", range(62, 66)), (TWO_TILES, "south", range(2))):
        material = material_set(name)
        sets.append(
            {
                "params": params_map(params),
                "mint_id": material.mint_id.hex(),
                "window": material.window,
                "camera": material.camera,
                "set_digest": material.digest.hex(),
                "keys": [key.hex() for key in material.keys],
                "states": [state.hex() for state in material.states],
                "slots": [slot_map(params, material, number) for number in slots],
            }
        )
    return {"sets": sets}


def slot_map(params: mint.Params, material: mint.MaterialSet, number: int) -> dict[str, Any]:
    """One slot, all of it."""
    slot = mint.mint(params, material, number)
    return {
        "slot": number,
        "slot_key": slot.key.hex(),
        "sides": [
            {
                "alpha": ring(side.alpha),
                "delta": blocks.u64(side.delta).hex(),
                "r": [ring(v) for v in side.r],
                "r_mac": [ring(v) for v in side.r_mac],
                "rho": [ring(v) for v in side.rho],
                "rho_mac": [ring(v) for v in side.rho_mac],
                "roots": [ring(v) for v in side.roots],
            }
            for side in slot.sides
        ],
        "match_bytes": slot.match_bytes.hex(),
        "prepare_bytes": slot.prepare_bytes.hex(),
        "camera_mask": mint.camera_mask(params, material.states, number),
    }


def ring(value: int) -> str:
    """A ring element as text."""
    return blocks.u128(value).hex()


def make() -> dict[str, bytes]:
    """All files: name and content."""
    made = {
        "hashing": hashing_vectors(),
        "prg": prg_vectors(),
        "dcf": dcf_vectors(),
        "material": material_vectors(),
        "wire": wire_vectors(),
        "prepare": prepare_vectors(),
        "match": match_vectors(),
    }
    return {
        f"{name}.json": (
            json.dumps({"version": 1, **content}, indent=1, ensure_ascii=False) + "\n"
        ).encode()
        for name, content in made.items()
    }


def main() -> None:
    """Write the files and print the digest of each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in make().items():
        (FOLDER / name).write_bytes(content)
        print(hashlib.sha256(content).hexdigest(), name)


if __name__ == "__main__":
    main()
