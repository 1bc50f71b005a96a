"""`twokey-dealer private`: one session that matches faces against entries nobody else may see."""

from __future__ import annotations

from pathlib import Path

import click

from dealer.config import CONFIG_FILE, DealerConfig
from dealer.engine_command import mint_session
from shared import config
from shared.errors import InputError
from shared.keys import Role
from shared.rolecommands import EXISTING_PATH, config_option


@click.command("private")
@config_option(CONFIG_FILE)
@click.option("--window", "window_id", required=True, help="Id of the window.")
@click.option("--name", required=True, help="The session's name within the window.")
@click.option("--authority", required=True, help="Whose entries they will be.")
@click.option("--entries", type=click.IntRange(1, 1 << 16), required=True, help="How many fit.")
@click.option(
    "--camera",
    "cameras",
    required=True,
    multiple=True,
    metavar="NAME=FACES",
    help="A camera, and for how many of its faces. May be repeated.",
)
@click.option("--out", type=EXISTING_PATH, help="Folder for the material, instead of `out`.")
def private_command(
    config_path: Path,
    window_id: str,
    name: str,
    authority: str,
    entries: int,
    cameras: tuple[str, ...],
    out: Path | None,
) -> None:
    """Mint the material of one session in which neither party sees the watchlist."""
    from shared.private_plan import private_plan

    settings = config.load(DealerConfig, config_path)
    params = settings.parameters.parameters()
    faces: dict[str, int] = {}
    for text in cameras:
        camera, _, number = text.rpartition("=")
        if not number.isdecimal() or not 0 < int(number) < 1 << 24 or camera in faces:
            raise InputError(f"--camera {text!r:.60}: expected NAME=FACES, each camera once")
        faces[camera] = int(number)
    plan = private_plan(params.dim, entries, tuple(faces.values()))
    clients: list[tuple[Role, str]] = [("authority", authority)]
    clients += [("camera", camera) for camera in faces]
    mint_session(config_path, plan, window_id, name, clients, out, params)
