"""Targets: what comes over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from camera.journal import _pack_frames, _unpack_frames
from party.intake import parse_faces
from party.material import PartySet
from party.private.run import _decoded as decode_offer
from shared.codec import Buffer, Codec
from shared.engine_messages import (
    ENGINE_CODEC,
    CheckCommit,
    CheckSeed,
    EngineHello,
    EngineRefused,
    Shares,
    SigmaCommit,
    SigmaOpen,
    Told,
)
from shared.intervals import Intervals
from shared.messages import CAMERA_CODEC, PARTY_CODEC, Faces, Run, pack_runs, unpack_runs
from tests.fuzz.mutation import Syntax, join, split
from tests.fuzz.target import Check, Target, same
from tests.fuzz.world import CAPACITY, SET, WINDOW, World, parameters
from tests.vector_files import load

_FACES = 2


def wire_targets(_: World) -> Iterator[Target]:
    """Messages of all three families, and the records inside them."""
    published = [
        join([bytes.fromhex(frame) for frame in case["frames"]])
        for kind in ("good", "bad")
        for case in load("wire")[kind]
    ]
    engine = [join([bytes(f) for f in ENGINE_CODEC.encode(m)]) for m in _engine_messages()]
    for name, codec, samples in (
        ("message between parties", PARTY_CODEC, published),
        ("message of a camera", CAMERA_CODEC, published),
        ("message of the engine", ENGINE_CODEC, engine),
    ):
        yield Target(name, _message(codec), tuple(samples), Syntax.FRAMES, share=4)
    yield Target("faces for a set", _faces, (_faces_sample(),), Syntax.FRAMES, share=2)
    offer = bytes([3]) + bytes(range(64))
    yield Target("offer of private faces", _private_offer, (offer, bytes([0])), share=0.5)
    yield Target("runs", _runs, (pack_runs([Run(b"01234567", 0, 3), Run(b"abcdefgh", 9, 1)]),))
    yield Target("intervals", _intervals, (Intervals([(0, 3), (9, 1), (500, 90)]).to_bytes(),))
    stored = _pack_frames([b"head", b"", bytes(40)])
    yield Target("stored message of a camera", _stored_message, (stored,))


def _message(codec: Codec) -> Check:
    def check(data: bytes) -> None:
        frames = split(data)
        views: list[Buffer] = [memoryview(f) if len(f) >= 256 else f for f in frames]
        message = codec.decode(views)
        same([bytes(frame) for frame in codec.encode(message)], frames)

    return check


def _engine_messages() -> list[Any]:
    digest, nonce = bytes(range(32)), bytes(range(16))
    return [
        EngineHello(1, digest, digest, nonce),
        Shares(digest, 3, digest, 0, bytes(48)),
        CheckCommit(digest, 1, 2**40, digest),
        CheckSeed(digest, 1, digest, nonce),
        SigmaCommit(digest, 1, digest),
        SigmaOpen(digest, 1, nonce, digest, nonce),
        Told(digest, 2, b"a note"),
        EngineRefused("TamperDetected", "check 1: the sum is not zero"),
    ]


def _faces_sample() -> bytes:
    message = Faces(
        SET.mint_id,
        parameters().digest(),
        WINDOW.id,
        SET.camera,
        5,
        np.arange(_FACES, dtype="<u8").tobytes(),
        np.arange(_FACES * parameters().coordinates, dtype="<u4").tobytes(),
    )
    return join([bytes(frame) for frame in CAMERA_CODEC.encode(message)])


def _faces(data: bytes) -> None:
    """A camera's message as the party takes it in: against its set."""
    frames = cast("list[Buffer]", split(data))
    message = CAMERA_CODEC.decode(frames)
    if not isinstance(message, Faces):
        return
    owner = SimpleNamespace(name=SET, params=parameters(), slots=CAPACITY, set_id=SET.set_id())
    held = parse_faces(message, frames, cast("PartySet", owner), 0.0)
    same((held.times.tobytes(), held.masked.tobytes()), (frames[1], frames[2]))
    same(held.run.stop <= CAPACITY and held.run.length == len(held.masked), True)


def _private_offer(data: bytes) -> None:
    flags, digests = decode_offer(data)
    same((flags, digests), (data[0], {data[at : at + 32] for at in range(1, len(data), 32)}))


def _runs(data: bytes) -> None:
    same(pack_runs(unpack_runs(data)), data)


def _intervals(data: bytes) -> None:
    same(Intervals.from_bytes(data).to_bytes(), data)


def _stored_message(data: bytes) -> None:
    same(_pack_frames(_unpack_frames(data)), data)
