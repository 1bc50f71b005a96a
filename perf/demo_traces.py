"""What a party has on its disk after the window, and that no embedding is in it."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camera.source import frames
from party.statefiles import LINES_FILE
from party.status import STATUS_FILE, read_status
from perf.demo_stage import Stage
from shared.errors import InputError, ResourceError
from shared.fixedpoint import quantise
from shared.vision.detect import Detector
from shared.vision.embed import load_embedder
from shared.vision.models import DEFAULT_MODEL
from shared.watchlist import load

_FRACTION_BITS = 12
_COORDINATES = 8  # so many in a row are no coincidence
_FORMS = ("<i2", "<i4", "<i8", "<f4", "<f8")
_MASKED = re.compile(r"slots from 0, the first masked face begins ([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Trace:
    """What a party's folder and log hold.

    masked: how the face of slot 0 began when it came, hex. record: the line of the first match.
    messages, sent: to the other party, by phase. files, size: how many and their bytes.
    stranger_in, watched_in: files with the embedding of a passer-by, of the watchlist's entry.
    """

    masked: str
    record: str
    messages: dict[str, int]
    sent: dict[str, int]
    files: int
    size: int
    stranger_in: tuple[str, ...]
    watched_in: tuple[str, ...]

    def deviations(self) -> list[str]:
        """What is not as it has to be: the search finds the entry and no passer-by."""
        found = [f"the embedding of a passer-by is in {name}" for name in self.stranger_in]
        if not self.watched_in:
            found.append("the search for embeddings does not find the watchlist's entry")
        return found


def read_trace(stage: Stage, who: str, stranger: NDArray[np.float64]) -> Trace:
    """Reads everything that a party has, its log too. stranger: float64 (d,).

    Raises ResourceError when the log or the events lack what must be there.
    """
    masked = _MASKED.search(stage.log(who).read_text())
    lines = (stage.state(who) / LINES_FILE).read_text().splitlines()
    matches = [line for line in lines if '"entries":["' in line]
    if masked is None or not matches:
        raise ResourceError(f"{who}: found no masked face in its log or no match in its events")
    status: dict[str, Any] = read_status(stage.state(who) / STATUS_FILE, time.time())[0]
    (watched,) = load(stage.root / who / "watchlist.jsonl").people
    places = [p for p in (stage.root / who).rglob("*") if p.is_file()] + [stage.log(who)]
    contents = {place.name: place.read_bytes() for place in sorted(places)}
    return Trace(
        masked.group(1),
        matches[0],
        status["wire"]["messages_sent"],
        status["wire"]["bytes_sent"],
        len(places),
        sum(place.stat().st_size for place in places),
        files_with(contents, needles(stranger)),
        files_with(contents, needles(watched.vector().astype(np.float64))),
    )


def embedding_at(video: Path, time_ms: int) -> NDArray[np.float64]:
    """The embedding of the largest face at a time of a video, (d,), as the camera computes it.

    Raises InputError when no face is there.
    """
    for frame in frames(video, 0):
        if frame.position_ms == time_ms:
            found = Detector().detect(frame.image)
            if len(found):
                rows = load_embedder(DEFAULT_MODEL, None).embed(frame.image, found.first(1))
                return np.asarray(rows[0], dtype=np.float64)
    raise InputError(f"{video}: found no face at {time_ms} ms")


def needles(embedding: NDArray[np.float64]) -> list[bytes]:
    """The first coordinates as binary numbers, as a watchlist has them, and as text."""
    integers = quantise(embedding[None], _FRACTION_BITS)[0]
    found = [
        (integers if "i" in form else embedding)[:_COORDINATES].astype(form).tobytes()
        for form in _FORMS
    ]
    found.append(base64.b64encode(embedding.astype("<f4").tobytes()[: 3 * _COORDINATES]))
    texts = [str(number) for number in integers[:_COORDINATES].tolist()]
    return found + [separator.join(texts).encode() for separator in (",", ", ", " ")]


def files_with(contents: dict[str, bytes], wanted: list[bytes]) -> tuple[str, ...]:
    """The names of those contents in which one of the wanted strings is."""
    return tuple(
        name for name, data in contents.items() if any(needle in data for needle in wanted)
    )
