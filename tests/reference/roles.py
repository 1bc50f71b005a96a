"""Roles as generators: a role yields its messages and is sent the peer's; it returns its result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from tests.reference.wire import Message, frames

R = TypeVar("R")
S = TypeVar("S")
Lie = Callable[[str, Message], Message]
Role = Generator[tuple[str, Message], Message, R]
LAST = ("Prep4", "Confirm1")


class FailedError(Exception):
    """An honest role stops here. kind: the name of the typed error of the programs."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind} at {message}")
        self.kind = kind
        self.message = message


def require(condition: bool, kind: str, message: str) -> None:
    """Stop the honest role unless the condition holds."""
    if not condition:
        raise FailedError(kind, message)


class Actor(Generic[R]):
    """A running role: what it sent, and how it ended (a result, or a failure)."""

    def __init__(self, role: Role[R]) -> None:
        self.role = role
        self.sent: list[tuple[str, Message]] = []
        self.result: R | None = None
        self.failed: FailedError | None = None
        self._advance(lambda: next(role))

    def hear(self, message: Message) -> bool:
        """Give the role the peer's message; whether it had an answer."""
        return self._advance(lambda: self.role.send(message))

    def wire(self) -> list[list[bytes]]:
        """The frames of all messages sent."""
        return [frames(name, message) for name, message in self.sent]

    def _advance(self, move: Callable[[], tuple[str, Message]]) -> bool:
        try:
            self.sent.append(move())
        except StopIteration as end:
            self.result = end.value
            return False
        except FailedError as failed:
            self.failed = failed
            return False
        if self.sent[-1][0] in LAST:  # nothing can answer it, so the role ends here
            try:
                self.role.send({})
            except StopIteration as end:
                self.result = end.value
        return True


def play(role: Role[R], incoming: list[Message]) -> Actor[R]:
    """Run a role against given messages of the peer, as far as it goes."""
    actor = Actor(role)
    for message in incoming:
        if not actor.hear(message):
            break
    return actor


def meet(zero: Role[R], one: Callable[[Message], Role[S]]) -> tuple[Actor[R], Actor[S]]:
    """Run P0 against P1, who is given P0's first message."""
    actor0 = Actor(zero)
    actor1 = Actor(one(actor0.sent[0][1]))
    speaker: Actor[R] | Actor[S] = actor1
    listener: Actor[R] | Actor[S] = actor0
    while speaker.sent and listener.hear(speaker.sent[-1][1]):
        speaker, listener = listener, speaker
    return actor0, actor1
