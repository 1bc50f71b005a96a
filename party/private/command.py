"""`twokey-party private-match` and `watchlist add-shared`."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import click

from party.config import PartyConfig
from shared import config
from shared.errors import EXIT_OK, SlotReused
from shared.rolecommands import EXISTING_PATH, config_option
from shared.roles import RoleFolder

CONFIG_FILE = "party.toml"
EVENTS_FILE = "private-events.sqlite"
LINES_FILE = "private-events.jsonl"


@click.command("add-shared")
@config_option(CONFIG_FILE)
@click.argument("file", type=EXISTING_PATH)
def add_shared(config_path: Path, file: Path) -> None:
    """Agree to search for the masked entries in FILE, which an authority shared.

    Neither party sees them, only their aliases. A session takes one list, once.
    """
    from party.private.lists import SharedLists

    settings = config.load(PartyConfig, config_path)
    lists = SharedLists(config_path.parent, settings.material)
    found = lists.add(file, settings.threshold)
    labels = found.file.header.labels
    click.echo(f"{found.session}: {len(labels)} entries of {found.issuer.name}")


@click.command("private-match")
@config_option(CONFIG_FILE)
@click.option("--session", "name", required=True, help="The session's name, as minted.")
@click.option("--window", "window_id", help="Its window, if sessions of that name are several.")
@click.option(
    "--until-done", is_flag=True, help="End when neither party holds a face that is not matched."
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds for each message of the other party.",
)
def private_match(
    config_path: Path, name: str, window_id: str | None, until_done: bool, deadline: float
) -> int:
    """Match masked faces against a list that neither party sees, together with the other party.

    Until SIGTERM or Ctrl-C here or there, or the window's end. A session runs once; results are in
    state/private-events.jsonl.
    """
    from party.engine import begin
    from party.events import EventStore
    from party.private.accept import find_session
    from party.private.inbox import Inbox
    from party.private.lists import SharedLists
    from party.private.run import PrivateRun
    from party.private.upkeep import forget_ended
    from party.windows import check_threshold
    from shared.engine_journal import has_begun

    settings = config.load(PartyConfig, config_path)
    folder = config_path.parent
    role = RoleFolder(folder)
    trusted = role.trusted()
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    now_ms = time.time_ns() // 1_000_000
    lists = SharedLists(folder, settings.material)
    forget_ended(role.state, (settings.material, settings.private_faces), lists, now_ms)
    session = find_session(settings.material, trusted.the("dealer"), window=window_id, name=name)
    session.check_open(now_ms)
    check_threshold(settings.threshold, session.shape.params)
    shared = lists.of(session)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with EventStore(role.state / EVENTS_FILE, role.state / LINES_FILE) as events:
        run = PrivateRun(shared, Inbox(settings.private_faces, session, trusted), events)
        if has_begun(role.state, session.header):
            run.burn_rest(f"{session} ended before they were matched")
            raise SlotReused(f"{session}: it has begun before and is never resumed")
        with begin(folder, session.path, settings.private_address, deadline=deadline) as engine:
            run.run(engine, lambda: stopping, until_done=until_done)
    found = run.summary
    click.echo(
        f"{session}: {found.matched} faces matched, {found.hits} with a match, "
        f"{found.burned} without a result"
    )
    return EXIT_OK
