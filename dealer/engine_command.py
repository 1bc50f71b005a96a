"""`twokey-dealer engine`: the material of one engine session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dealer.config import CONFIG_FILE, DealerConfig
from shared import config
from shared.cores import cores
from shared.errors import InputError
from shared.keys import PublicIdentity, Role
from shared.params import Parameters
from shared.rolecommands import EXISTING_PATH, config_option
from shared.roles import RoleFolder
from shared.windowkeys import WindowKey, load_window_key, public_file_name

if TYPE_CHECKING:
    from shared.engine_plan import Plan


@click.command("engine")
@config_option(CONFIG_FILE)
@click.option("--window", "window_id", required=True, help="Id of the window.")
@click.option("--name", required=True, help="The session's name within the window.")
@click.option(
    "--count",
    "counts",
    required=True,
    multiple=True,
    metavar="KIND=NUMBER",
    help="Items of a kind: triple=1000, sign=500, matmul:3x3x3=1, input:0=9. May be repeated.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    help="Identity that gets the masks of kind client:0, client:1, ... May be repeated.",
)
@click.option("--out", type=EXISTING_PATH, help="Folder for the material, instead of `out`.")
def engine_command(
    config_path: Path,
    window_id: str,
    name: str,
    counts: tuple[str, ...],
    clients: tuple[str, ...],
    out: Path | None,
) -> None:
    """Mint the material of one session of the SPDZ2k engine, by kind and count."""
    from shared.engine_plan import Kind, parse_kind, plan

    wanted: dict[Kind, int] = {}
    for text in counts:
        kind_text, _, number = text.rpartition("=")
        kind = parse_kind(kind_text)
        if not number.isdecimal() or kind in wanted:
            raise InputError(f"--count {text!r:.60}: expected KIND=NUMBER, each kind once")
        wanted[kind] = int(number)
    mint_session(config_path, plan(wanted), window_id, name, [("camera", c) for c in clients], out)


def mint_session(
    config_path: Path,
    plan: Plan,
    window_id: str,
    name: str,
    clients: Sequence[tuple[Role, str]],
    out: Path | None,
    params: Parameters | None = None,
) -> None:
    """Mints a session's files with the keys of a dealer's folder, and prints their paths.

    clients: role and name of each. params: of the faces that the session is for, if it is.
    """
    from dealer.engine_job import EngineOrder, mint_engine

    settings = config.load(DealerConfig, config_path)
    folder = RoleFolder(config_path.parent)
    trusted = folder.trusted()

    def key(owner: PublicIdentity) -> WindowKey:
        path = settings.window_keys / public_file_name(owner.role, owner.name, window_id)
        return load_window_key(path, owner, window_id)

    order = EngineOrder(
        plan,
        name,
        key(trusted.the("p0")),
        key(trusted.the("p1")),
        tuple(key(trusted.named(role, client)) for role, client in clients),
        params,
    )
    paths = mint_engine(
        order, folder.identity("dealer"), out or settings.out, workers=settings.workers or cores()
    )
    for path in paths.values():
        click.echo(str(path))
