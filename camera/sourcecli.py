"""What commands that take frames have in common: their options, and the pipeline behind them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from shared.errors import InputError
from shared.windowkeys import parse_time

if TYPE_CHECKING:
    from camera.config import CameraConfig
    from shared.vision.detect import Detector
    from shared.vision.embed import Embedder


def source_options(command: click.decorators.FC) -> click.decorators.FC:
    """`--interval-ms` and `--start`: which frames of a source, and when they were captured."""
    options: list[Callable[[click.decorators.FC], click.decorators.FC]] = [
        click.option(
            "--interval-ms",
            type=click.IntRange(min=0),
            default=0,
            help="Video: the least time between frames taken.",
        ),
        click.option(
            "--start",
            help="Capture time of the first frame, e.g. 2026-11-20T08:00:00Z.  [default: now]",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def start_time(start: str | None) -> int:
    """Unix milliseconds of `--start`. Raises InputError."""
    start_ms = parse_time(start) if start else time.time_ns() // 1_000_000
    if start_ms < 0:
        raise InputError(f"--start {start}: expected a time after 1970")
    return start_ms


def load_vision(settings: CameraConfig) -> tuple[Detector, Embedder]:
    """The detector and the embedder of a camera. Raises InputError without the camera extra."""
    from shared.vision.detect import Detector
    from shared.vision.embed import load_embedder

    detector = Detector(settings.min_face, settings.probability)
    return detector, load_embedder(settings.model, settings.weights)
