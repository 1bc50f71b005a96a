"""Every message as frames, and frames that must be refused (encodings E7)."""

from __future__ import annotations

from typing import Any

from tests.reference.blocks import u32, u64
from tests.reference.samples import WINDOW, drawn, plain
from tests.reference.wire import LAYOUT, Message, Value, frames, pack, run_bytes

SESSION = drawn("session", 32)


def examples() -> dict[str, Message]:
    """One message of each kind."""
    fields: Message = {
        "session": SESSION,
        "party": 1,
        "window": WINDOW,
        "params": drawn("params", 32),
        "nonce": drawn("nonce", 16),
        "answers": bytes(16),
        "clock_ms": 1_932_940_800_000,
        "journal": drawn("journal", 16),
        "generation": 4,
        "sets": [
            [drawn("north mint id", 16), "north", 4096, 127, 0],
            [drawn("east mint id", 16), "east", 65536, 65535, 128],
        ],
        "prepared": run_bytes([(drawn("set", 8), 62, 3)]),
        "used": b"",
        "approved": drawn("approved", 64),
        "entries": drawn("entries", 96),
        "epoch": 255,
        "bindings": [[0, drawn("entry 0", 32)], [300, drawn("entry 1", 32)]],
        "place_map": drawn("place map", 32),
        "settled": 127,
        "check": 2**64 - 1,
        "runs": run_bytes([(drawn("set", 8), 62, 3), (drawn("other set", 8), 0, 1)]),
        "places": u32(0) + u32(3),
        "kappa": drawn("kappa", 16 * 8),
        "seed_commitment": drawn("seed commitment", 32),
        "seed": drawn("seed", 32),
        "sigma_commitment": drawn("sigma commitment", 32),
        "verdict": drawn("verdict", 32),
        "sigma": drawn("sigma", 16),
        "faces": drawn("faces", 32),
        "batch": 256,
        "live": b"\x09",
        "bits": bytes([1, 2, 3, 0]),
        "commitment": drawn("commitment", 32),
        "confirmation": drawn("confirmation", 32),
        "error": "HeaderMismatch",
        "detail": "batch 256: the peer's slots differ",
        "camera": "a-camera-with-a-name-of-more-than-31-letters",
        "mint_id": drawn("north mint id", 16),
        "high_water": 65535,
        "first": 65536,
        "times": u64(1_932_940_800_000) + u64(1_932_940_800_040),
        "masked": drawn("masked", 4 * 8),
        "outcomes": [[0, 128, 1], [128, 1, 2]],
    }
    made = {}
    for name, (_, layout) in LAYOUT.items():
        message = {field.strip("*"): fields[field.strip("*")] for field in layout.split()}
        made[name] = message
    made["Held"]["faces"] = drawn("faces", 64)
    return made


def wire_vectors() -> dict[str, Any]:
    """Good messages with their fields, bad frames with the error."""
    good = [
        {"message": name, "fields": plain(message), "frames": plain(frames(name, message))}
        for name, message in examples().items()
    ]
    bad = [
        {"name": name, "frames": plain(content), "must_fail": "FormatError"}
        for name, content in refused().items()
    ]
    return {"good": good, "bad": bad}


def refused() -> dict[str, list[bytes]]:
    """Frames that no receiver may take."""
    message = examples()
    prep3 = frames("Prep3", message["Prep3"])[0]
    prep1 = frames("Prep1", message["Prep1"])
    ping = frames("Ping", message["Ping"])[0]
    body: list[Value] = [1, 13, SESSION, 5, drawn("verdict", 32)]
    _, layout = LAYOUT["Hello"]
    plain_fields = [field for field in layout.split() if not field.startswith("*")]
    hello: list[Value] = [1, 1, *(message["Hello"][field] for field in plain_fields)]
    return {
        "no frame": [],
        "an empty frame": [b""],
        "not a list": [pack(5)],
        "a list without a code": [pack([1])],
        "another protocol version": [pack([2, *body[1:]])],
        "an unknown code": [pack([1, 99, *body[2:]])],
        "a code that is text": [pack([1, "13", *body[2:]])],
        "a field too few": [pack(body[:-1])],
        "a field too many": [pack([*body, 0])],
        "a digest of 31 bytes": [pack([*body[:-1], drawn("verdict", 31)])],
        "a digest as text": [pack([*body[:-1], "a" * 32])],
        "a number as bytes": [pack([1, 13, SESSION, b"\x05", drawn("verdict", 32)])],
        "a number in a longer form": [b"\x95\x01\xcc\x0d" + prep3[3:]],
        "a list in a longer form": [b"\xdc\x00\x05" + prep3[1:]],
        "a byte after the list": [prep3 + b"\x00"],
        "a truncated list": [prep3[:-1]],
        "a negative number": [b"\x95\x01\x20" + pack(SESSION) + b"\xff\x00"],
        "a truth value for a number": [b"\x95\x01\x20" + pack(SESSION) + b"\xc3\x00"],
        "a floating-point number": [b"\x95\x01\x20" + pack(SESSION) + b"\xca\x3f\x80\x00\x00\x00"],
        "a raw frame that does not belong": [prep3, b""],
        "a raw frame too few": prep1[:1],
        "a raw frame too many": [*prep1, b""],
        "a raw frame of a broken length": [prep1[0], prep1[1][:-1]],
        "a party number of nine bits": [
            pack([1, 1, 256, *hello[3:]]),
            b"",
            b"",
            b"",
        ],
        "a name of 65 characters": [pack([1, 40, "w" * 65, "c", bytes(16), SESSION, 0])],
        "a name with a line break": [pack([1, 40, "w\nw", "c", bytes(16), SESSION, 0])],
        "a name that is not UTF-8": [
            b"\x97\x01\x28\xa1\xff" + pack("c") + pack(bytes(16)) + pack(SESSION) + b"\x00"
        ],
        "a nested record of two fields": [pack([1, 43, WINDOW, "c", bytes(16), [[0, 1]]])],
        "a nested record with a number too large": [
            pack([1, 43, WINDOW, "c", bytes(16), [[2**32, 1, 1]]])
        ],
        "a code of another family in frame 1": [ping[:2], ping[2:]],
    }
