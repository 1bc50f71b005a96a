"""The programs' honest roles as roles of the reference, so that a corrupt one can meet them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from party import matching, prepare
from shared.errors import SecurityError
from shared.messages import PARTY_CODEC, Run
from shared.sets import SetName
from tests.reference import match as reference_match
from tests.reference import prepare as reference_prepare
from tests.reference.blocks import u64, u128
from tests.reference.roles import FailedError, Role
from tests.reference.wire import Message, frames

__all__ = ["batch_header", "check_header", "match_p0", "match_p1", "prepare_p0", "prepare_p1"]


def read(name: str, message: Message) -> Any:
    """A message of the reference as the programs decode it."""
    return PARTY_CODEC.decode(frames(name, message))


def told(message: Any) -> tuple[str, Message]:
    """A message of the programs as the reference has it."""
    fields = {name: getattr(message, name) for name in type(message).__dataclass_fields__}
    return type(message).__name__, {
        name: bytes(value) if isinstance(value, memoryview) else value
        for name, value in fields.items()
    }


def judged(name: str, step: Callable[[], Any]) -> Any:
    """The outcome of a step of the programs; their refusal as the failure of a role."""
    try:
        return step()
    except SecurityError as error:
        raise FailedError(type(error).__name__, name) from error


def ring_array(values: list[int]) -> NDArray[np.uint64]:
    """Ring elements, (len, 2)."""
    content = b"".join(u128(value) for value in values)
    return np.frombuffer(content, dtype="<u8").astype(np.uint64).reshape(-1, 2)


def check_header(header: reference_prepare.Header) -> prepare.CheckHeader:
    """The same header for the programs."""
    return prepare.CheckHeader(
        session=header.session,
        check=header.check,
        params=header.params,
        place_map=header.place_map,
        runs=tuple(Run(*run) for run in header.runs),
        places=tuple(header.places),
    )


def opening_shares(
    header: reference_prepare.Header, mine: reference_prepare.Shares
) -> prepare.OpeningShares:
    """The same shares for the programs."""
    per_slot = mine.alpha[:: len(header.places)]
    return prepare.OpeningShares(ring_array(mine.kappa), ring_array(mine.mac), ring_array(per_slot))


def prepare_p0(
    header: reference_prepare.Header,
    mine: reference_prepare.Shares,
    seed: bytes,
    nonces: tuple[bytes, bytes],
) -> Role[list[int]]:
    """The programs' P0; its result is kappa mod 2^32."""
    started, prep0 = prepare.start_p0(
        check_header(header), opening_shares(header, mine), seed, nonces[0]
    )
    prep1 = yield told(prep0)
    committed, prep2 = judged("Prep1", lambda: started.receive(read("Prep1", prep1), nonces[1]))
    prep3 = yield told(prep2)
    passed, prep4 = judged("Prep3", lambda: committed.receive(read("Prep3", prep3)))
    yield told(prep4)
    result: list[int] = passed.kappa.ravel().tolist()
    return result


def prepare_p1(
    header: reference_prepare.Header, mine: reference_prepare.Shares, seed: bytes, prep0: Message
) -> Role[list[int]]:
    """The programs' P1; its result is kappa mod 2^32."""
    own = opening_shares(header, mine)
    answered, prep1 = judged(
        "Prep0", lambda: prepare.answer_p1(check_header(header), own, seed, read("Prep0", prep0))
    )
    prep2 = yield told(prep1)
    waiting, prep3 = judged("Prep2", lambda: answered.receive(read("Prep2", prep2)))
    prep4 = yield told(prep3)
    passed = judged("Prep4", lambda: waiting.receive(read("Prep4", prep4)))
    result: list[int] = passed.kappa.ravel().tolist()
    return result


def batch_header(batch: reference_match.Batch) -> matching.BatchHeader:
    """The same header for the programs."""
    names = [SetName(m.mint_id, m.window, m.camera) for m, _, _, _ in batch.runs]
    return matching.BatchHeader(
        session=batch.session,
        batch=batch.number,
        params=batch.params,
        place_map=batch.place_map,
        places=batch.places,
        runs=tuple(
            Run(name.set_id(), first, length)
            for name, (_, first, length, _) in zip(names, batch.runs, strict=True)
        ),
        sets=tuple(names),
        faces=tuple(faces for _, _, _, faces in batch.runs),
        live=tuple(batch.live),
    )


def tag_shares(mine: reference_match.Tags) -> matching.TagShares:
    """The same tags for the programs."""
    rows = [np.frombuffer(b"".join(map(u64, row)), dtype="<u8") for row in mine.tags]
    tags = np.stack(rows).astype(np.uint64)
    part = matching.TagPart(tags, np.array(mine.delta, dtype=np.uint64))
    return matching.TagShares((part,), tags.shape[1])


def match_p0(
    batch: reference_match.Batch, mine: reference_match.Tags
) -> Role[reference_match.Bits]:
    """The programs' P0."""
    revealed, reveal0 = matching.reveal_p0(batch_header(batch), tag_shares(mine))
    reveal1 = yield told(reveal0)
    confirming, confirm0 = judged("Reveal1", lambda: revealed.receive(read("Reveal1", reveal1)))
    confirm1 = yield told(confirm0)
    verified = judged("Confirm1", lambda: confirming.receive(read("Confirm1", confirm1)))
    result: reference_match.Bits = verified.bits.tolist()
    return result


def match_p1(
    batch: reference_match.Batch, mine: reference_match.Tags, nonce: bytes, reveal0: Message
) -> Role[reference_match.Bits]:
    """The programs' P1."""
    own = tag_shares(mine)
    revealed, reveal1 = judged(
        "Reveal0",
        lambda: matching.reveal_p1(batch_header(batch), own, read("Reveal0", reveal0), nonce),
    )
    confirm0 = yield told(reveal1)
    verified, confirm1 = judged("Confirm0", lambda: revealed.receive(read("Confirm0", confirm0)))
    yield told(confirm1)
    result: reference_match.Bits = verified.bits.tolist()
    return result
