"""Nothing that holds a secret prints it: every class by its fields, and live objects by their text.

A dataclass whose field is named like a secret must leave it out of its repr, or be listed here with
the reason why what it holds is public.
"""

from __future__ import annotations

import dataclasses
import gc
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pytest

from party.matching import P0Revealed, TagPart
from party.prepare import OpeningShares, P0Started
from shared.keys import Identity
from shared.messages import PartyMessage
from shared.secret import Secret
from tests.processes.test_secrets import forms
from tests.support.pair import Frames, Pair
from tests.support.scenes import NEAR_ADA, STRANGER, ground, watchlist
from tests.test_structure import MODULES, PACKAGES, module_name

LIKE_A_SECRET = re.compile(
    "secret|private|seed|ratchet|key|alpha|delta|tag|mac|share|nonce|sigma|expected|opening|kappa"
    "|rho|root|mask|bits|embedding|face|coordinates|signing|curve|content|plain|opened",
    re.IGNORECASE,
)
HOLDS_CONTENT = re.compile(r"bytes|bytearray|memoryview|Buffer|NDArray|\bU\d\d?\b|Array|Bits|list")
# Messages are on the wire by the time anybody prints them; all of their fields are.
ON_THE_WIRE = ("shared.messages", "shared.engine_messages")
PUBLIC = {
    "camera.agent.PartyAddress.key": "a party's public key",
    "party.agreement.SessionState.nonce0": "sent in Hello",
    "party.agreement.SessionState.nonce1": "sent in Hello",
    "party.intake.HeldFaces.tags_map": "digest of a place map",
    "party.journal.PreparedRun.kappa": "opened between the parties, uniform",
    "party.journal_rows.Check.kappa": "row numbers",
    "party.material._KappaBlock.kappa": "opened between the parties, uniform",
    "party.matching.BatchHeader.faces": "digests of messages",
    "party.prepare.P1Answered.seed_commitment": "sent in Prep0",
    "party.prepare.P1Judged.sigma_commitment": "sent in Prep2",
    "shared.engine_header.EngineHeader.window_key": "digest of a public key",
    "shared.engine_header.SignedEngineHeader.content": "public, readable without a key",
    "shared.headerfile.FoundHeader.content": "public, readable without a key",
    "shared.keys.PublicIdentity.curve_key": "the public half",
    "shared.keys.PublicIdentity.signing_key": "the public half",
    "shared.materialheader.Header.window_key": "digest of a public key",
    "shared.materialheader.SignedHeader.content": "public, readable without a key",
    "shared.transport.Received.key": "the sender's public key",
    "shared.windowkeys.PrivateWindowKey.key_id": "digest of the public half",
    "shared.windowkeys.WindowKey.key": "the public half",
}
PRODUCTION = tuple(name for name in PACKAGES if name != "perf")


def classes() -> Iterator[tuple[str, type]]:
    """Every class of the programs, by its full name."""
    for path in MODULES:
        name = module_name(path)
        if name.partition(".")[0] in PRODUCTION and not name.endswith("__main__"):
            module = importlib.import_module(name)
            for own, found in vars(module).items():
                if inspect.isclass(found) and found.__module__ == name:
                    yield f"{name}.{own}", found


def printed_fields(cls: type) -> Iterator[tuple[str, str]]:
    """Name and type of every field that the class's own repr shows."""
    if dataclasses.is_dataclass(cls):
        yield from ((f.name, str(f.type)) for f in dataclasses.fields(cls) if f.repr)
    elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
        yield from ((name, str(cls.__annotations__.get(name, ""))) for name in cls._fields)


def exposed(found: Iterable[tuple[str, type]]) -> set[str]:
    """Fields that are named like a secret, can hold one, and are printed."""
    return {
        f"{name}.{field}"
        for name, cls in found
        if not name.startswith(ON_THE_WIRE)
        for field, kind in printed_fields(cls)
        if LIKE_A_SECRET.search(field) and HOLDS_CONTENT.search(kind)
        if "Secret" not in kind
    }


def test_no_field_that_is_named_like_a_secret_is_printed() -> None:
    assert exposed(classes()) == set(PUBLIC)


def test_a_new_field_with_a_secret_is_noticed() -> None:
    @dataclasses.dataclass
    class Careless:
        name: str
        session_key: bytes
        tags: np.ndarray[Any, Any]  # in source text, as all annotations are
        hidden_seed: bytes = dataclasses.field(repr=False)
        right: Secret | None = None

    assert exposed([("x.Careless", Careless)]) == {"x.Careless.session_key"}


def test_a_repr_of_its_own_prints_no_content() -> None:
    own = {
        name
        for name, cls in classes()
        if "__repr__" in vars(cls)
        and not dataclasses.is_dataclass(cls)
        and not issubclass(cls, tuple | Enum)
    }
    assert own == {
        "party.engine.arrays.MacKey",  # its type
        "party.engine.arrays.SharedArray",  # its shape
        "shared.intervals.Intervals",  # slot numbers
        "shared.secret.Secret",
        "shared.shares.Ratchet",  # its block's number
        "shared.shares.RatchetTable",
    }


# -- live objects ------------------------------------------------------------------------


def reachable(*roots: object) -> Iterator[object]:
    """Everything that these objects hold, each once."""
    seen = {id(root) for root in roots}
    left: list[object] = list(roots)
    while left:
        one = left.pop()
        yield one
        for inner in gc.get_referents(one):
            if id(inner) not in seen and not isinstance(inner, type | ModuleType | FunctionType):
                seen.add(id(inner))
                left.append(inner)


def texts(found: Iterable[object]) -> Iterator[tuple[str, str]]:
    """What every object of the programs prints as."""
    for one in found:
        if type(one).__module__.partition(".")[0] in PRODUCTION:
            yield type(one).__qualname__, f"{one!r} {one!s}"


def secret_texts(found: Iterable[object]) -> dict[str, str]:
    """Forms in which secrets of these objects might be printed, and what they are."""
    wanted: dict[str, str] = {}

    def add(content: bytes, what: str) -> None:
        for form in forms(content).values():
            wanted[form.decode("latin-1")] = what

    def add_words(words: Any, what: str) -> None:
        for word in np.asarray(words).ravel()[:64].tolist():
            wanted[str(word)] = what

    for one in found:
        if isinstance(one, Secret) and one._content is not None:
            add(bytes(one._content), "a secret")
        elif isinstance(one, TagPart):
            add_words(one.tags, "a tag")
            add_words(one.deltas, "a Delta")
        elif isinstance(one, OpeningShares):
            add_words(one.mac, "a MAC share")
            add_words(one.alphas, "an alpha")
        elif isinstance(one, P0Started):
            add(one.seed, "a seed")
    return {text: what for text, what in wanted.items() if len(text) > 6}


def test_no_object_of_a_session_prints_a_secret_at_any_moment() -> None:
    moments: set[tuple[int, type]] = set()
    shown: set[str] = set()
    kinds: set[str] = set()
    secrets: set[str] = set()

    def look(sender: int, message: PartyMessage, frames: Frames) -> list[Frames]:
        if (sender, type(message)) in moments:
            return [frames]
        moments.add((sender, type(message)))
        found = list(reachable(*(side.session for side in pair.sides)))
        wanted = secret_texts(found)
        secrets.update(wanted.values())
        pattern = re.compile("|".join(map(re.escape, wanted)))
        for name, text in texts(found):
            kinds.add(name)
            if hit := pattern.search(text):
                shown.add(f"{name} prints {wanted[hit.group()]}")
        return [frames]

    with Pair(ground(), watchlist()) as pair:
        assert pair.run(3, pair.prepared)
        pair.cameras["east"].send([NEAR_ADA, STRANGER])
        pair.tap = look
        assert pair.run(3, pair.settled)
        pair.tap = lambda _sender, _message, frames: [frames]
    assert shown == set()
    assert {"Secret", "PartySet", "MaterialFile", "HeldFaces", "P0Revealed"} <= kinds
    assert {"a secret", "a tag", "a Delta"} <= secrets


def test_a_printed_tag_would_be_found() -> None:
    part = TagPart(np.full((1, 1), 0x1234567890ABCDEF, dtype=np.uint64), np.ones(1, np.uint64))
    wanted = secret_texts([part])
    assert any(text in f"tags={part.tags}" for text in wanted)
    assert not any(text in repr(part) for text in wanted)


@pytest.mark.parametrize("cls", [Identity, P0Revealed, OpeningShares])
def test_the_fields_of_secret_holders_are_left_out(cls: type) -> None:
    hidden = {field.name for field in dataclasses.fields(cls) if not field.repr}
    assert hidden
