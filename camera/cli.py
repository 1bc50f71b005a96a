"""`twokey-camera`: frames to masked faces, sent to both parties."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import orjson

from camera.config import CameraConfig
from shared import config, rolecommands
from shared.cli import program, run
from shared.keys import Identity
from shared.rolecommands import FOLDER_OPTION
from shared.roles import RoleFolder, init_role

CONFIG_FILE = "camera.toml"

cli = program("twokey-camera", "A camera that sends masked faces to two parties.")


@cli.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The camera's name: letters, digits, . _ -")
@click.option("--p0-address", help="Where P0 listens for cameras.")
@click.option("--p1-address", help="Where P1 listens for cameras.")
def init(folder: Path, name: str, p0_address: str | None, p1_address: str | None) -> None:
    """Make FOLDER with keys and a commented camera.toml."""
    _, identity, public = init_role(folder, "camera", name)
    given = {"p0_address": p0_address, "p1_address": p1_address}
    values = {key: value for key, value in given.items() if value is not None}
    config.write_default(CameraConfig, folder / CONFIG_FILE, values)
    load_config(folder).material.mkdir(exist_ok=True)
    click.echo(f"{folder / CONFIG_FILE} is written; hand {public} to the others")
    click.echo(f"fingerprint: {identity.public.fingerprint()}")


@cli.command("run")
@FOLDER_OPTION
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--interval-ms", default=0, help="Video: the least time between frames taken.")
@click.option(
    "--start",
    help="Capture time of the first frame, e.g. 2026-11-20T08:00:00Z.  [default: now]",
)
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object.")
def serve(folder: Path, source: Path, interval_ms: int, start: str | None, as_json: bool) -> None:
    """Find, embed, mask and send the faces of SOURCE: an image, a folder of them, or a video."""
    from camera.pipeline import Captured, Pipeline  # noqa: PLC0415  # heavy packages
    from camera.runner import CameraRunner  # noqa: PLC0415
    from camera.source import frames  # noqa: PLC0415
    from shared.vision.detect import Detector  # noqa: PLC0415
    from shared.vision.embed import load_embedder  # noqa: PLC0415
    from shared.windowkeys import parse_time  # noqa: PLC0415

    settings = load_config(folder)
    start_ms = parse_time(start) if start else time.time_ns() // 1_000_000
    pictures = frames(source, start_ms, interval_ms)
    detector = Detector(settings.min_face, settings.probability)
    embedder = load_embedder(settings.model, settings.weights)
    with CameraRunner(folder, settings) as runner:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        pipeline = Pipeline(detector, embedder, runner.set.params)

        def captured() -> Iterator[Captured]:
            for frame in pictures:
                yield pipeline.process(frame)

        summary = runner.run(captured())
        result = {
            "frames": summary.frames,
            "faces": summary.faces,
            "out_of_range": summary.out_of_range,
            **runner.outcomes(),
        }
    if as_json:
        click.echo(orjson.dumps(result).decode())
    else:
        click.echo(
            f"{summary.frames} frames, {summary.faces} faces sent, "
            f"{summary.out_of_range} out of range"
        )


def load_config(folder: Path) -> CameraConfig:
    """The camera's configuration in its folder. Raises ConfigError."""
    return config.load(CameraConfig, folder / CONFIG_FILE)


def _identity(folder: Path) -> Identity:
    return RoleFolder(folder).identity("camera")


cli.add_command(rolecommands.trust_command())
cli.add_command(rolecommands.identity_command(_identity))
cli.add_command(rolecommands.publish_command(_identity))


def main() -> NoReturn:
    """Entry point of `twokey-camera`."""
    run(cli)
