"""What disks, and people with access to them, do to files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Damage:
    """name: what was done. harm: does it to a file. anybody: shows only without root's rights."""

    name: str
    harm: Callable[[Path], None]
    anybody: bool = False


def flip(share: float) -> Damage:
    """One bit turned over, this share of the file's length behind its beginning."""

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        if changed:
            changed[min(int(share * len(changed)), len(changed) - 1)] ^= 0x08
        return bytes(changed)

    return replaced(f"flipped at {share:.3f}", change)


def cut(share: float) -> Damage:
    """Only this share of it is left."""
    name = "cut" if share else "emptied"
    return replaced(name, lambda content: content[: int(share * len(content))])


def replaced(name: str, change: Callable[[bytes], bytes]) -> Damage:
    """Another content."""

    def harm(path: Path) -> None:
        content, mode = path.read_bytes(), path.stat().st_mode & 0o777
        path.unlink()  # the same name, another file: nobody has it open
        path.write_bytes(change(content))
        path.chmod(mode)

    return Damage(name, harm)


def instead(name: str, source: Callable[[Path], Path]) -> Damage:
    """Another file's content."""

    def harm(path: Path) -> None:
        content = source(path).read_bytes()
        replaced(name, lambda _: content).harm(path)

    return Damage(name, harm)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nothing there"))


def _link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def _link_to_a_copy(path: Path) -> None:
    copy = path.with_name(f"{path.name}.elsewhere")
    shutil.move(path, copy)
    path.symlink_to(copy)


SHAPES: Final = (
    Damage("missing", lambda path: path.unlink()),
    Damage("a folder", _folder),
    Damage("a pipe", _pipe),
    Damage("a link to nothing", _link_to_nothing),
    Damage("a link to itself", _link_to_itself),
    Damage("a link to a copy", _link_to_a_copy),
    Damage("unreadable", lambda path: path.chmod(0), anybody=True),
)


def contents(flips: int) -> Iterator[Damage]:
    """Bits turned over all along the file, and cuts."""
    for number in range(flips):
        yield flip((number + 0.5) / flips)
    yield cut(0.0)
    yield cut(0.33)
    yield replaced("a byte more", lambda content: content + b"\0")
    yield replaced("zeros", lambda content: bytes(len(content)))
    yield replaced("twice", lambda content: content + content)
