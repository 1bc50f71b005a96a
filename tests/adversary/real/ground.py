"""The ground of attacks on real processes: parameters, people, and windows of material."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from dealer.job import MintJob
from dealer.order import CameraOrder, MintOrder
from perf.deployment import PARTIES, Deployment
from shared.params import Parameters
from shared.watchlist import Person
from shared.windowkeys import Window, load_window_key, publish_window_key

ROOT: Final = Path(__file__).parents[3]
PARAMS: Final = Parameters(
    dim=8,
    fraction_bits=6,
    headroom_bits=5,
    places=6,
    threshold=400,
    face_bound=120,
    entry_bound=120,
    model="test",
)
PEOPLE: Final = {
    "ada": (10, -20, 30, -40, 0, 0, 5, 5),
    "bob": (100, 10, 10, 10, 0, 0, 0, 0),
    "cyd": (-60, 60, -60, 0, 0, 0, 1, 0),
}
DAN: Final = {"dan": (0, 0, 0, 90, 0, 0, 0, 0)}
BOTH: Final = ("gate", "yard")  # cameras
NEAR_ADA: Final = (11, -20, 30, -40, 0, 0, 5, 5)
NEAR_DAN: Final = (0, 1, 0, 88, 0, 0, 0, 0)
STRANGER: Final = (-100, -40, 20, 30, 0, 0, 0, 0)


def watch(made: Deployment, *, more: bool = False) -> None:
    """Writes both watchlists; more: with dan."""
    people = {**PEOPLE, **(DAN if more else {})}
    made.write_watchlist(
        Person.of(name, np.array(row) / np.float64(1 << PARAMS.fraction_bits))
        for name, row in people.items()
    )


def mint_window(made: Deployment, window: str, cameras: Sequence[str], slots: int) -> None:
    """One more window of this deployment, as long as its own: keys, material, handed out."""
    span = Window(window, made.window.start_ms, made.window.end_ms)
    keys = {
        who: load_window_key(
            publish_window_key(
                made.identities[who], made.folder(who).state, made.root / "keys", span
            ),
            made.identities[who].public,
            window,
        )
        for who in (*PARTIES, *cameras)
    }
    orders = tuple(CameraOrder(name, slots, keys[name]) for name in cameras)
    order = MintOrder(made.params, span, keys["p0"], keys["p1"], orders)
    out = made.root / "dealer" / "out"
    with MintJob(order, made.identities["dealer"], out) as job:
        job.mint(job.plan(), workers=1)
    for who in (*PARTIES, *cameras):
        folder = made.root / who / "material" / window
        folder.mkdir()
        made_for = out / window / (who if who in PARTIES else "camera")
        for path in made_for.glob("*.tkm"):
            if who in PARTIES or path.stem == who:
                path.rename(folder / path.name)
