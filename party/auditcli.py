"""`twokey-party audit`: look at the audit log, verify it, hand it over, compare two of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import click

from party.audit import Extent, check_chain, compare
from party.auditfile import OpenLog, export, load, open_log
from party.config import PartyConfig
from party.eventlines import rfc3339
from party.statefiles import EVENTS_FILE, JOURNAL_FILE
from shared import config
from shared.errors import AuditBroken
from shared.rolecommands import EXISTING_PATH, config_option
from shared.roles import RoleFolder

CONFIG_FILE = "party.toml"


@click.group("audit")
def audit_group() -> None:
    """The audit log: verify it, compare it with the other party's, export it."""


@audit_group.command("verify")
@config_option(CONFIG_FILE)
@click.option(
    "--other",
    type=EXISTING_PATH,
    help="The other party's exported log: the two must not contradict each other.",
)
def verify(config_path: Path, other: Path | None) -> None:
    """Check that the log is as it was written. Exit 3, with a line each, for any change."""
    settings = config.load(PartyConfig, config_path)
    folder = RoleFolder(config_path.parent)
    with _own_log(folder) as log:
        extent = Extent()
        _judge("the audit log", check_chain(extent.measuring(log.records()), log.known))
        _describe("own log", extent)
        if other is None:
            return
        peer = folder.trusted().the("p1" if settings.party == 0 else "p0")
        theirs = load(other, peer)
        extent = Extent()
        _judge(f"audit log {other}", check_chain(extent.measuring(theirs)))
        _describe(f"log of {peer.role} {peer.name}", extent)
        p0, p1 = (log.records(), theirs) if settings.party == 0 else (theirs, log.records())
        _judge("the two logs", compare(p0, p1))
    click.echo("the two logs agree")


@audit_group.command("export")
@config_option(CONFIG_FILE)
@click.argument("file", type=EXISTING_PATH)
def export_log(config_path: Path, file: Path) -> None:
    """Write the log to FILE, signed, for the other party to compare. Verifies it first."""
    folder = RoleFolder(config_path.parent)
    with _own_log(folder) as log:
        _judge("the audit log", check_chain(log.records(), log.known))
        records = export(file, log.records(), folder.identity())
    click.echo(f"{records} records are in {file}")


@audit_group.command("show")
@config_option(CONFIG_FILE)
@click.option("--last", type=click.IntRange(min=1), default=20, show_default=True)
def show(config_path: Path, last: int) -> None:
    """List the last records."""
    with _own_log(RoleFolder(config_path.parent)) as log:
        records = log.last(last)
    for record in records:
        transcript = f" [{record.transcript.hex()[:16]}]" if record.transcript else ""
        when = rfc3339(record.at_ms)
        click.echo(f"{record.sequence} {when} {record.kind}: {record.detail}{transcript}")


def _judge(what: str, problems: Sequence[str]) -> None:
    """Raises AuditBroken, after a line for each problem when there are several."""
    if len(problems) > 1:
        for line in problems:
            click.echo(f"{what}: {line}")
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise AuditBroken(f"{what}: {problems[0]}{more}")


def _own_log(folder: RoleFolder) -> AbstractContextManager[OpenLog]:
    return open_log(folder.state / JOURNAL_FILE, folder.state / EVENTS_FILE)


def _describe(what: str, extent: Extent) -> None:
    if extent.last is None:
        click.echo(f"{what}: empty, sound")
        return
    counted = ", ".join(f"{number} {kind}" for kind, number in extent.kinds.most_common())
    span = f"{rfc3339(extent.first_ms)} to {rfc3339(extent.last.at_ms)}"
    click.echo(f"{what}: {extent.kinds.total()} records, {span}, sound ({counted})")
    click.echo(f"{what} ends with {extent.last.digest.hex()}")
