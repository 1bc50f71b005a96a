"""Messages and both state machines do exactly what the published transcripts say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from party import matching, prepare
from shared import errors, hashing, messages
from shared.codec import Codec
from shared.sets import SetName
from tests.reference import match as reference_match
from tests.vector_files import elements, hex_all, load, words64

# -- messages --------------------------------------------------------------------------


def codec_for(name: str) -> Codec:
    cameras = {"CameraHello", "Welcome", "Faces", "FaceAck", "CameraRefused"}
    return messages.CAMERA_CODEC if name in cameras else messages.PARTY_CODEC


@pytest.mark.parametrize("vector", load("wire")["good"], ids=lambda v: v["message"])
def test_a_message_equals_its_vector(vector: dict[str, Any]) -> None:
    frames = hex_all(vector["frames"])
    message = codec_for(vector["message"]).decode(frames)
    assert type(message).__name__ == vector["message"]
    assert list(codec_for(vector["message"]).encode(message)) == frames
    for name, value in vector["fields"].items():
        assert as_plain(getattr(message, name)) == value, name


def as_plain(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    if isinstance(value, tuple):
        return [as_plain(item) for item in value]
    return value


@pytest.mark.parametrize("vector", load("wire")["bad"], ids=lambda v: v["name"])
def test_frames_that_must_fail_are_refused(vector: dict[str, Any]) -> None:
    for codec in (messages.PARTY_CODEC, messages.CAMERA_CODEC):
        with pytest.raises(getattr(errors, vector["must_fail"])):
            codec.decode(hex_all(vector["frames"]))


def test_every_message_has_a_vector() -> None:
    named = {vector["message"] for vector in load("wire")["good"]}
    unions = (messages.PartyMessage, messages.CameraMessage)
    assert named == {cls.__name__ for union in unions for cls in union.__args__}


# -- prepare ---------------------------------------------------------------------------


class Replay:
    """Runs one honest role of the programs against the frames of a case."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.heard = [messages.PARTY_CODEC.decode(hex_all(texts)) for texts in case["incoming"]]
        self.sent: list[list[str]] = []

    def send(self, message: messages.PartyMessage) -> None:
        frames = messages.PARTY_CODEC.encode(message)
        self.sent.append([bytes(frame).hex() for frame in frames])


def check_header(vectors: dict[str, Any]) -> prepare.CheckHeader:
    header = vectors["header"]
    return prepare.CheckHeader(
        session=bytes.fromhex(header["session"]),
        check=header["check"],
        params=bytes.fromhex(header["params"]),
        place_map=bytes.fromhex(header["place_map"]),
        runs=tuple(messages.Run(bytes.fromhex(s), f, n) for s, f, n in header["runs"]),
        places=tuple(header["places"]),
    )


def opening_shares(vectors: dict[str, Any], party: int) -> prepare.OpeningShares:
    content = vectors["shares"][party]
    return prepare.OpeningShares(
        kappa=elements(content["kappa"]),
        mac=elements(content["mac"]),
        alphas=np.ascontiguousarray(
            elements(content["alpha"])[:: len(vectors["header"]["places"])]
        ),
    )


def replay_prepare(vectors: dict[str, Any], case: dict[str, Any], run: Replay) -> prepare.Passed:
    """The outcome of the honest role; what it sends is recorded on the way."""
    header = check_header(vectors)
    seeds = [bytes.fromhex(seed) for seed in vectors["seeds"]]
    nonce, sigma_nonce = (bytes.fromhex(vectors[n]) for n in ("seed_nonce", "sigma_nonce"))
    if case["role"] == "p0":
        started, prep0 = prepare.start_p0(header, opening_shares(vectors, 0), seeds[0], nonce)
        run.send(prep0)
        committed, prep2 = started.receive(run.heard[0], sigma_nonce)
        run.send(prep2)
        passed, prep4 = committed.receive(run.heard[1])
        run.send(prep4)
        return passed
    answered, prep1 = prepare.answer_p1(header, opening_shares(vectors, 1), seeds[1], run.heard[0])
    run.send(prep1)
    judged, prep3 = answered.receive(run.heard[1])
    run.send(prep3)
    return judged.receive(run.heard[2])


@pytest.mark.parametrize(
    "case", load("prepare")["cases"], ids=lambda c: f"{c['role']}: {c['name']}"
)
def test_a_prepare_transcript_ends_as_its_vector(case: dict[str, Any]) -> None:
    vectors = load("prepare")
    run = Replay(case)
    if "must_fail" in case:
        with pytest.raises(errors.SecurityError) as caught:
            replay_prepare(vectors, case, run)
        assert type(caught.value).__name__ == case["must_fail"]
    else:
        passed = replay_prepare(vectors, case, run)
        low = elements(case["kappa"])[:, 0] & np.uint64(0xFFFFFFFF)
        assert passed.kappa.ravel().tolist() == low.tolist()
    assert run.sent == case["sent"]


# -- match -----------------------------------------------------------------------------


def batch_header(vectors: dict[str, Any]) -> matching.BatchHeader:
    header = vectors["header"]
    names = [SetName(bytes.fromhex(r["mint_id"]), r["window"], r["camera"]) for r in header["runs"]]
    return matching.BatchHeader(
        session=bytes.fromhex(header["session"]),
        batch=header["batch"],
        params=bytes.fromhex(header["params"]),
        place_map=bytes.fromhex(header["place_map"]),
        places=header["places"],
        runs=tuple(
            messages.Run(name.set_id(), run["first"], run["length"])
            for name, run in zip(names, header["runs"], strict=True)
        ),
        sets=tuple(names),
        faces=tuple(bytes.fromhex(run["faces"]) for run in header["runs"]),
        live=tuple(header["live"]),
    )


def tag_shares(vectors: dict[str, Any], party: int) -> matching.TagShares:
    content = vectors["tags"][party]
    rows = np.stack([words64(row) for row in content["tags"]])
    part = matching.TagPart(tags=rows, deltas=words64(content["delta"]))
    return matching.TagShares((part,), rows.shape[1])


def replay_match(vectors: dict[str, Any], case: dict[str, Any], run: Replay) -> matching.Verified:
    """The outcome of the honest role; what it sends is recorded on the way."""
    header, nonce = batch_header(vectors), bytes.fromhex(vectors["nonce"])
    if case["role"] == "p0":
        revealed, reveal0 = matching.reveal_p0(header, tag_shares(vectors, 0))
        run.send(reveal0)
        confirming, confirm0 = revealed.receive(run.heard[0])
        run.send(confirm0)
        return confirming.receive(run.heard[1])
    answered, reveal1 = matching.reveal_p1(header, tag_shares(vectors, 1), run.heard[0], nonce)
    run.send(reveal1)
    verified, confirm1 = answered.receive(run.heard[1])
    run.send(confirm1)
    return verified


@pytest.mark.parametrize("case", load("match")["cases"], ids=lambda c: f"{c['role']}: {c['name']}")
def test_a_match_transcript_ends_as_its_vector(case: dict[str, Any]) -> None:
    vectors = load("match")
    run = Replay(case)
    if "must_fail" in case:
        with pytest.raises(errors.SecurityError) as caught:
            replay_match(vectors, case, run)
        assert type(caught.value).__name__ == case["must_fail"]
    else:
        verified = replay_match(vectors, case, run)
        assert verified.bits.tolist() == case["bits"]
    assert run.sent == case["sent"]


def test_every_field_of_every_message_is_forged_in_some_case() -> None:
    for name, prefix in (("prepare", "Prep"), ("match", "")):
        forged = {case["name"].split(" ")[0] for case in load(name)["cases"] if "must_fail" in case}
        wanted = {
            f"{cls.__name__}.{field}"
            for cls in (
                (messages.Prep0, messages.Prep1, messages.Prep2, messages.Prep3, messages.Prep4)
                if prefix
                else (messages.Reveal0, messages.Reveal1, messages.Confirm0, messages.Confirm1)
            )
            for field in cls.__dataclass_fields__
        }
        assert wanted <= forged


def test_the_digest_of_a_camera_message_equals_the_vectors() -> None:
    vectors = load("match")
    for texts, run in zip(vectors["camera_messages"], vectors["header"]["runs"], strict=True):
        frames = hex_all(texts)
        message = messages.CAMERA_CODEC.decode(frames)
        assert isinstance(message, messages.Faces)
        assert message.camera == run["camera"]
        assert hashing.digest("faces", *frames).hex() == run["faces"]
        assert reference_match.faces_digest(vars_of(message)).hex() == run["faces"]


def vars_of(message: messages.Faces) -> dict[str, Any]:
    return {name: getattr(message, name) for name in message.__dataclass_fields__}
