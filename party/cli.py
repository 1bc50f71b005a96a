"""`twokey-party`: one of the two computing parties."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NoReturn

import click
import orjson

from party import watchlist
from party.config import PartyConfig
from party.enroll import enroll_command
from party.status import STATUS_FILE, read_status, render_status
from shared import config, rolecommands
from shared.cli import program, run
from shared.errors import EXIT_OK, EXIT_RESOURCE
from shared.keys import Identity, Role
from shared.rolecommands import FOLDER_OPTION
from shared.roles import RoleFolder, init_role

CONFIG_FILE = "party.toml"

cli = program("twokey-party", "One of the two parties that match masked faces together.")


@cli.command("init")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--party", type=click.Choice(["0", "1"]), required=True, help="P0 or P1.")
@click.option("--name", required=True, help="The organisation's name: letters, digits, . _ -")
@click.option("--listen", help="Address on which cameras connect.")
@click.option("--peer-address", help="P0: where P1 listens. P1: where it listens for P0.")
@click.option("--model", default="dlib-resnet-v1", show_default=True, help="Embedding model.")
@click.option("--dim", default=128, show_default=True, help="Its number of coordinates.")
def init(
    folder: Path,
    party: str,
    name: str,
    listen: str | None,
    peer_address: str | None,
    model: str,
    dim: int,
) -> None:
    """Make FOLDER with keys, an empty watchlist and a commented party.toml."""
    _, identity, public = init_role(folder, _role(int(party)), name)
    values: dict[str, object] = {"party": int(party)}
    if listen is not None:
        values["listen"] = listen
    if peer_address is not None:
        values["peer_address"] = peer_address
    config.write_default(PartyConfig, folder / CONFIG_FILE, values)
    settings = config.load(PartyConfig, folder / CONFIG_FILE)
    settings.material.mkdir(exist_ok=True)
    watchlist.save(settings.watchlist, watchlist.Watchlist(model, dim, ()))
    click.echo(f"{folder / CONFIG_FILE} is written; hand {public} to the others")
    click.echo(f"fingerprint: {identity.public.fingerprint()}")


@cli.command("run")
@FOLDER_OPTION
def serve(folder: Path) -> int:
    """Prepare, match and report until SIGTERM or Ctrl-C."""
    settings = load_config(folder)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(settings.threads))  # before the numeric library loads
    from party.node import PartyNode  # noqa: PLC0415

    node = PartyNode(folder, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: node.stop())
    try:
        node.run()
    finally:
        node.close()
    return EXIT_OK


@cli.command("status")
@FOLDER_OPTION
@click.option("--json", "as_json", is_flag=True, help="The status as one JSON object.")
def status(folder: Path, as_json: bool) -> int:
    """Show what a running party last reported. Exit 4 when it does not run."""
    found, alive = read_status(RoleFolder(folder).state / STATUS_FILE, time.time())
    click.echo(orjson.dumps(found).decode() if as_json else render_status(found, alive))
    return EXIT_OK if alive else EXIT_RESOURCE


@cli.group("watchlist")
def watchlist_group() -> None:
    """Look at the watchlist, or take somebody off it. Add with `enroll`."""


@watchlist_group.command("show")
@FOLDER_OPTION
def watchlist_show(folder: Path) -> None:
    """List the entries' names."""
    found = watchlist.load(load_config(folder).watchlist)
    click.echo(f"model {found.model}, {len(found.people)} entries")
    for person in found.people:
        click.echo(person.name)


@watchlist_group.command("remove")
@FOLDER_OPTION
@click.argument("name")
def watchlist_remove(folder: Path, name: str) -> None:
    """Take NAME off the list; a running party follows within a second or two."""
    path = load_config(folder).watchlist
    watchlist.remove(path, name)
    click.echo(f"{name} is off the list")


def load_config(folder: Path) -> PartyConfig:
    """The party's configuration in its folder. Raises ConfigError."""
    return config.load(PartyConfig, folder / CONFIG_FILE)


def _role(party: int) -> Role:
    return "p0" if party == 0 else "p1"


def _identity(folder: Path) -> Identity:
    state = RoleFolder(folder)
    return state.identity(_role(load_config(folder).party))


cli.add_command(rolecommands.trust_command())
cli.add_command(rolecommands.identity_command(_identity))
cli.add_command(rolecommands.publish_command(_identity))
cli.add_command(enroll_command)


def main() -> NoReturn:
    """Entry point of `twokey-party`."""
    run(cli)
