"""`twokey-camera`: frames to masked faces, sent to both parties."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import click
import orjson

from camera.config import CameraConfig
from camera.sharecli import share_entries, share_faces
from camera.sourcecli import load_vision, source_options, start_time
from shared import config
from shared.cli import program, run
from shared.keys import Role
from shared.rolecommands import (
    config_option,
    identity_command,
    publish_window_keys_command,
    trust_command,
)
from shared.roles import init_role

CONFIG_FILE = "camera.toml"
_ROLES: tuple[Role, ...] = ("camera", "authority")

cli = program(
    "twokey-camera",
    "A camera that sends masked faces to two parties; an authority that shares masked entries.",
)


@cli.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The camera's name: letters, digits, . _ -")
@click.option("--p0-address", help="Where P0 listens for cameras.")
@click.option("--p1-address", help="Where P1 listens for cameras.")
@click.option("--authority", is_flag=True, help="Of an authority, which shares entries only.")
def init(
    folder: Path, name: str, p0_address: str | None, p1_address: str | None, authority: bool
) -> None:
    """Make FOLDER with keys and a commented camera.toml."""
    _, identity, public = init_role(folder, "authority" if authority else "camera", name)
    given = {"p0_address": p0_address, "p1_address": p1_address}
    values = {key: value for key, value in given.items() if value is not None}
    config.write_default(CameraConfig, folder / CONFIG_FILE, values)
    config.load(CameraConfig, folder / CONFIG_FILE).material.mkdir(exist_ok=True)
    click.echo(f"{folder / CONFIG_FILE} is written; hand {public} to the others")
    click.echo(f"fingerprint: {identity.public.fingerprint()}")


@cli.command("run")
@config_option(CONFIG_FILE)
@click.argument("source", type=click.Path(path_type=Path))
@source_options
@click.option("--json", "as_json", is_flag=True, help="End with one JSON object.")
def serve(
    config_path: Path, source: Path, interval_ms: int, start: str | None, as_json: bool
) -> None:
    """Find, embed, mask and send the faces of SOURCE: an image, a folder of them, or a video."""
    from camera.pipeline import Captured, Pipeline  # heavy packages
    from camera.runner import CameraRunner
    from camera.source import frames

    settings = config.load(CameraConfig, config_path)
    pictures = frames(source, start_time(start), interval_ms)
    detector, embedder = load_vision(settings)
    with CameraRunner(config_path.parent, settings) as runner:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        pipeline = Pipeline(detector, embedder, runner.set.params)

        def captured() -> Iterator[Captured]:
            for frame in pictures:
                yield pipeline.process(frame)

        summary = runner.run(captured())
        result = {
            "frames": summary.frames,
            "failed_frames": pipeline.counters.failed_frames,
            "faces": summary.faces,
            "out_of_range": summary.out_of_range,
            **runner.outcomes(),
        }
    if as_json:
        click.echo(orjson.dumps(result).decode())
    else:
        click.echo(
            f"frames: {summary.frames}, faces sent: {summary.faces}, "
            f"out of range: {summary.out_of_range}"
        )


cli.add_command(share_entries)
cli.add_command(share_faces)
cli.add_command(trust_command(CONFIG_FILE))
cli.add_command(identity_command(_ROLES, CONFIG_FILE))
cli.add_command(publish_window_keys_command(_ROLES, CONFIG_FILE))


def main() -> NoReturn:
    """Entry point of `twokey-camera`."""
    run(cli)
