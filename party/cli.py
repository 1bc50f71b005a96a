"""`twokey-party`: one of the two computing parties."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import NoReturn

import click
import orjson

from party.auditcli import audit_group
from party.config import PartyConfig
from party.enroll import enroll_command
from party.private.command import add_shared, private_match
from party.status import STATUS_FILE, read_status, render_status
from shared import config, watchlist
from shared.cli import program, run
from shared.cores import cores
from shared.errors import EXIT_OK, EXIT_RESOURCE
from shared.keys import Role
from shared.rolecommands import (
    config_option,
    identity_command,
    publish_window_keys_command,
    trust_command,
)
from shared.roles import RoleFolder, init_role

log = logging.getLogger(__name__)
CONFIG_FILE = "party.toml"
_ROLES: tuple[Role, ...] = ("p0", "p1")

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
    settings.private_faces.mkdir(exist_ok=True)
    watchlist.save(settings.watchlist, watchlist.Watchlist(model, dim, ()))
    click.echo(f"{folder / CONFIG_FILE} is written; hand {public} to the others")
    click.echo(f"fingerprint: {identity.public.fingerprint()}")


@cli.command("run")
@config_option(CONFIG_FILE)
def serve(config_path: Path) -> int:
    """Prepare, match and report until SIGTERM or Ctrl-C."""
    settings = config.load(PartyConfig, config_path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())  # also while it starts
    from threadpoolctl import threadpool_limits

    from party.node import PartyNode
    from party.warmup import settle_heap

    threads = min(settings.threads, cores())  # more would only wait for one another
    if threads < settings.threads:
        log.warning("threads: %d are configured, there are %d cores", settings.threads, threads)
    threadpool_limits(threads)
    node = PartyNode(config_path.parent, settings, stop.is_set)
    settle_heap()
    try:
        node.run()
    finally:
        node.close()
    return EXIT_OK


@cli.command("status")
@config_option(CONFIG_FILE)
@click.option("--json", "as_json", is_flag=True, help="The status as one JSON object.")
def status(config_path: Path, as_json: bool) -> int:
    """Show what a running party last reported. Exit 4 when it does not run."""
    found, alive = read_status(RoleFolder(config_path.parent).state / STATUS_FILE, time.time())
    click.echo(orjson.dumps(found).decode() if as_json else render_status(found, alive))
    return EXIT_OK if alive else EXIT_RESOURCE


@cli.group("watchlist")
def watchlist_group() -> None:
    """Look at the watchlist, or take somebody off it. Add with `enroll`.

    `add-shared` is for entries that an authority shares and no party sees.
    """


@watchlist_group.command("show")
@config_option(CONFIG_FILE)
def watchlist_show(config_path: Path) -> None:
    """List the entries' names, and the aliases of those that were shared."""
    from party.private.lists import SharedLists

    settings = config.load(PartyConfig, config_path)
    found = watchlist.load(settings.watchlist)
    click.echo(f"model {found.model}, {len(found.people)} entries")
    for person in found.people:
        click.echo(person.name)
    for shared in SharedLists(config_path.parent, settings.material).kept():
        header = shared.header
        click.echo(f"window {header.window.id}, session {header.name}, {len(header.labels)} shared")
        for label in header.labels:
            click.echo(label)


@watchlist_group.command("remove")
@config_option(CONFIG_FILE)
@click.argument("name")
def watchlist_remove(config_path: Path, name: str) -> None:
    """Take NAME off the list; a running party follows within a second or two."""
    path = config.load(PartyConfig, config_path).watchlist
    watchlist.remove(path, name)
    click.echo(f"{name} is off the list")


def _role(party: int) -> Role:
    return "p0" if party == 0 else "p1"


cli.add_command(trust_command(CONFIG_FILE))
cli.add_command(identity_command(_ROLES, CONFIG_FILE))
cli.add_command(publish_window_keys_command(_ROLES, CONFIG_FILE))
cli.add_command(enroll_command)
cli.add_command(audit_group)
cli.add_command(private_match)
watchlist_group.add_command(add_shared)


def main() -> NoReturn:
    """Entry point of `twokey-party`."""
    run(cli)
