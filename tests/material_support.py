"""A small window with all its keys, for the tests of material files and of the dealer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dealer.job import MintJob
from dealer.order import CameraOrder, MintOrder, material_path
from shared.keys import Identity, Role, create_identity
from shared.materialheader import RECIPIENTS
from shared.params import Parameters
from shared.windowkeys import (
    PrivateWindowKey,
    Window,
    WindowKey,
    load_private_window_key,
    load_window_key,
    publish_window_key,
)

SMALL = Parameters(
    dim=3,
    fraction_bits=3,
    headroom_bits=3,
    places=5,
    threshold=20,
    face_bound=8,
    entry_bound=7,
    model="small-3",
)
# Slots so large that a match chunk holds 4 and a prepare chunk 64.
WIDE = Parameters(
    dim=16,
    fraction_bits=12,
    headroom_bits=5,
    places=150,
    threshold=20,
    face_bound=9000,
    entry_bound=6000,
    model="wide-16",
)
WINDOW = Window("monday", 1_700_000_000_000, 1_700_086_400_000)


@dataclass(frozen=True)
class Recipient:
    """One recipient, with both halves of its window key."""

    identity: Identity
    public: WindowKey
    private: PrivateWindowKey


@dataclass(frozen=True)
class People:
    """A dealer, both parties and cameras, with keys for WINDOW."""

    dealer: Identity
    p0: Recipient
    p1: Recipient
    cameras: dict[str, Recipient]

    def of(self, role: str, camera: str = "door") -> Recipient:
        """The recipient of this role."""
        return {"p0": self.p0, "p1": self.p1}.get(role) or self.cameras[camera]

    def order(self, params: Parameters, **slots: int) -> MintOrder:
        """An order of so many slots for each camera."""
        cameras = tuple(CameraOrder(c, n, self.cameras[c].public) for c, n in slots.items())
        return MintOrder(params, WINDOW, self.p0.public, self.p1.public, cameras)


def make_recipient(folder: Path, role: Role, name: str, window: Window = WINDOW) -> Recipient:
    """A new recipient with a key for the window."""
    identity = create_identity(role, name)
    state = folder / f"{role}-{name}"
    path = publish_window_key(identity, state, folder / "published", window)
    return Recipient(
        identity,
        load_window_key(path, identity.public, window.id),
        load_private_window_key(state, window.id, role, name),
    )


def make_people(folder: Path, *cameras: str) -> People:
    """Everybody, with fresh keys."""
    return People(
        create_identity("dealer", "dealer"),
        make_recipient(folder, "p0", "north"),
        make_recipient(folder, "p1", "south"),
        {name: make_recipient(folder, "camera", name) for name in cameras},
    )


def mint_window(people: People, out: Path, params: Parameters, **slots: int) -> dict[str, Path]:
    """Mints so many slots for each camera; the paths of the first camera's files."""
    order = people.order(params, **slots)
    with MintJob(order, people.dealer, out) as job:
        job.mint(job.plan())
    first = order.cameras[0].name
    return {role: material_path(out, WINDOW.id, role, first) for role in RECIPIENTS}
