"""Commands that every role has alike: trust an identity, show one's own, publish window keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from shared.keys import Identity
from shared.roles import RoleFolder
from shared.trust import read_offered
from shared.windowkeys import Window, parse_time, publish_window_key, windows_ahead

FOLDER_OPTION = click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("."),
    show_default=True,
    help="The role's folder, made by `init`.",
)


def trust_command() -> click.Command:
    """`trust FILE`: keep somebody's public identity after comparing its fingerprint."""

    @click.command("trust")
    @FOLDER_OPTION
    @click.option("--yes", is_flag=True, help="Do not ask; the fingerprint was compared already.")
    @click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
    def trust(folder: Path, yes: bool, files: tuple[Path, ...]) -> None:
        """Trust the owners of public identity FILES.

        Compare each fingerprint with its owner over another channel, by telephone for example.
        """
        trusted = RoleFolder(folder).trusted()
        for path in files:
            identity, content = read_offered(path)
            click.echo(f"{identity.role} {identity.name}: {identity.fingerprint()}")
            if not yes:
                click.confirm("Does its owner read out the same?", abort=True, err=True)
            if not trusted.add(identity, content):
                click.echo("(trusted already)")

    return trust


def identity_command(load: Callable[[Path], Identity]) -> click.Command:
    """`identity`: one's own role, name and fingerprint."""

    @click.command("identity")
    @FOLDER_OPTION
    def identity(folder: Path) -> None:
        """Show this role's name and fingerprint."""
        public = load(folder).public
        click.echo(f"{public.role} {public.name}: {public.fingerprint()}")

    return identity


def publish_command(load: Callable[[Path], Identity]) -> click.Command:
    """`publish-window-keys`: keys of windows to come, signed, for the dealer."""

    @click.command("publish-window-keys")
    @FOLDER_OPTION
    @click.option("--window", required=True, help="Id of the (first) window.")
    @click.option("--start", required=True, help="Its start, e.g. 2026-11-20T00:00:00Z.")
    @click.option("--end", required=True, help="Its end.")
    @click.option(
        "--count",
        default=1,
        show_default=True,
        help="So many windows one after the other; the k-th is called WINDOW-k.",
    )
    @click.option(
        "--out",
        type=click.Path(path_type=Path),
        help="Where the public halves go.  [default: published/ in the folder]",
    )
    def publish(
        folder: Path, window: str, start: str, end: str, count: int, out: Path | None
    ) -> None:
        """Make and sign the keys of windows to come; hand the files to the dealer."""
        role = RoleFolder(folder)
        identity = load(folder)
        first = Window(window, parse_time(start), parse_time(end))
        for one in windows_ahead(first, count):
            path = publish_window_key(identity, role.state, out or role.published, one)
            click.echo(str(path))

    return publish
