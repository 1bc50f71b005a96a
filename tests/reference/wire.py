"""Messages as frames (encodings E7), with a packer for the few msgpack types that occur."""

from __future__ import annotations

from tests.reference.blocks import digest, u32

Value = bytes | int | str | list["Value"]
Message = dict[str, Value]

HELLO = "party window params nonce answers clock_ms journal generation sets"
HELLO += " *prepared *used *approved"

# name -> code and fields in order; a field that travels as a frame of its own begins with *
LAYOUT = {
    "Hello": (1, HELLO),
    "Approved": (2, "session *entries"),
    "PlaceMap": (3, "session epoch bindings"),
    "PlaceMapAgreed": (4, "session epoch place_map"),
    "Prep0": (10, "session check params place_map *runs *places *kappa seed_commitment"),
    "Prep1": (11, "session check *kappa seed"),
    "Prep2": (12, "session check seed nonce sigma_commitment"),
    "Prep3": (13, "session check verdict"),
    "Prep4": (14, "session check sigma nonce"),
    "Held": (20, "session *runs *faces"),
    "Reveal0": (21, "session batch params place_map faces *live *runs *bits"),
    "Reveal1": (22, "session batch commitment *bits"),
    "Confirm0": (23, "session batch confirmation"),
    "Confirm1": (24, "session batch confirmation nonce"),
    "Refused": (30, "session error detail"),
    "Burned": (31, "session *runs"),
    "Ping": (32, "session clock_ms settled"),
    "Stopping": (33, "session"),
    "Paused": (34, "session"),
    "CameraHello": (40, "window camera mint_id params clock_ms"),
    "Welcome": (41, "window camera mint_id high_water clock_ms"),
    "Faces": (42, "mint_id params window camera first *times *masked"),
    "FaceAck": (43, "window camera mint_id outcomes"),
    "CameraRefused": (44, "window camera error detail"),
}


def frames(name: str, message: Message) -> list[bytes]:
    """The wire frames of a message."""
    code, layout = LAYOUT[name]
    plain: list[Value] = [1, code]
    bodies = []
    for field in layout.split():
        if field.startswith("*"):
            bodies.append(raw(message, field[1:]))
        else:
            plain.append(message[field])
    return [pack(plain), *bodies]


def pack(value: Value) -> bytes:
    """One value in the shortest msgpack form."""
    if isinstance(value, int):
        if value < 0x80:
            return bytes([value])
        for marker, size in ((0xCC, 1), (0xCD, 2), (0xCE, 4), (0xCF, 8)):
            if value < 1 << (8 * size):
                return bytes([marker]) + value.to_bytes(size, "big")
        raise OverflowError("integer of more than 64 bits")
    if isinstance(value, str):
        content = value.encode("utf-8")
        head = bytes([0xA0 | len(content)]) if len(content) < 32 else bytes([0xD9, len(content)])
        return head + content
    if isinstance(value, list):
        if len(value) > 15:
            raise OverflowError("list of more than 15 items")
        return bytes([0x90 | len(value)]) + b"".join(pack(item) for item in value)
    return bytes([0xC4, len(value)]) + value


def step(transcript: bytes, name: str, message: Message) -> bytes:
    """E8: the transcript digest after a message."""
    return digest("step", transcript, *frames(name, message))


def run_bytes(runs: list[tuple[bytes, int, int]]) -> bytes:
    """Runs on the wire: set id, first slot, length."""
    return b"".join(set_id + u32(first) + u32(length) for set_id, first, length in runs)


def raw(message: Message, field: str) -> bytes:
    """A field that is bytes."""
    content = message[field]
    if not isinstance(content, bytes):
        raise TypeError(f"{field}: expected bytes")
    return content
