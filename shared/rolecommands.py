"""Commands that every role's program has: whom to trust, and the keys of windows to come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from shared.errors import AuthenticationFailed, ConfigError
from shared.keys import Identity, PublicIdentity, Role
from shared.roles import RoleFolder
from shared.trust import read_offered
from shared.windowkeys import Window, parse_time, publish_window_key, windows_ahead

EXISTING_PATH = click.Path(path_type=Path)


def config_option(default: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """`--config`: the configuration file; the role's other files lie beside it."""
    return click.option(
        "-c",
        "--config",
        "config_path",
        type=EXISTING_PATH,
        default=default,
        show_default=True,
        help="The configuration file; keys lie in the same folder.",
    )


def show_identity(identity: PublicIdentity) -> None:
    """Role, name and fingerprint on standard output."""
    click.echo(f"role         {identity.role}")
    click.echo(f"name         {identity.name}")
    click.echo(f"fingerprint  {identity.fingerprint()}")


def trust_command(default_config: str) -> click.Command:
    """`trust PUBLICFILE`: adds somebody's identity after its fingerprint was compared."""

    @click.command("trust")
    @config_option(default_config)
    @click.option("--fingerprint", help="What the owner reads to you; then nothing is asked.")
    @click.argument("public_file", type=EXISTING_PATH)
    def trust(config_path: Path, fingerprint: str | None, public_file: Path) -> None:
        """Trust the owner of PUBLIC_FILE, once its fingerprint is compared by telephone."""
        trusted = RoleFolder(config_path.parent).trusted()
        identity, content = read_offered(public_file)
        show_identity(identity)
        if fingerprint is not None:
            if "".join(fingerprint.split()).lower() != identity.fingerprint().replace(" ", ""):
                raise AuthenticationFailed(
                    f"{public_file}: its fingerprint is not the one that was given"
                )
        elif not click.confirm("Does its owner read you the same fingerprint?", err=True):
            raise AuthenticationFailed(f"{public_file}: not trusted")
        added = trusted.add(identity, content)
        click.echo("trusted now" if added else "was trusted already", err=True)

    return trust


def identity_command(roles: tuple[Role, ...], default_config: str) -> click.Command:
    """`identity`: shows one's own fingerprint, and whom one trusts."""

    @click.command("identity")
    @config_option(default_config)
    def identity(config_path: Path) -> None:
        """Show this role's own fingerprint, to be read to the others, and whom it trusts."""
        folder = RoleFolder(config_path.parent)
        show_identity(own_identity(config_path, roles).public)
        for other in folder.trusted().everybody():
            click.echo(f"trusts       {other.role} {other.name} {other.fingerprint()}")

    return identity


def publish_window_keys_command(roles: tuple[Role, ...], default_config: str) -> click.Command:
    """`publish-window-keys`: makes and signs the keys of windows to come, for one of `roles`."""

    @click.command("publish-window-keys")
    @config_option(default_config)
    @click.option("--window", "window_id", required=True, help="Id of the (first) window.")
    @click.option("--start", required=True, help="Its start: 2026-11-20T00:00:00Z.")
    @click.option("--end", required=True, help="Its end, not included.")
    @click.option(
        "--count",
        type=click.IntRange(min=1, max=1000),
        default=1,
        show_default=True,
        help="So many windows of this length, one after the other, called ID-1, ID-2 and so on.",
    )
    @click.option("--out", type=EXISTING_PATH, help="Folder for the public halves [published].")
    def publish_window_keys(
        config_path: Path, window_id: str, start: str, end: str, count: int, out: Path | None
    ) -> None:
        """Make and sign the keys of windows to come; hand the public files to the dealer."""
        folder = RoleFolder(config_path.parent)
        first = Window(window_id, parse_time(start), parse_time(end))
        identity = own_identity(config_path, roles)
        for window in windows_ahead(first, count):
            click.echo(publish_window_key(identity, folder.state, out or folder.published, window))

    return publish_window_keys


def own_identity(config_path: Path, roles: tuple[Role, ...]) -> Identity:
    """The identity beside this configuration file. Raises ConfigError unless of these roles."""
    identity = RoleFolder(config_path.parent).identity()
    if identity.role not in roles:
        raise ConfigError(
            f"{config_path.parent}: is the folder of a {identity.role}, "
            f"expected {' or '.join(roles)}"
        )
    return identity
