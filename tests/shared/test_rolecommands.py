from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from shared.errors import AuthenticationFailed, ConfigError, InputError, TwokeyError
from shared.rolecommands import (
    identity_command,
    publish_window_keys_command,
    trust_command,
)
from shared.roles import RoleFolder, init_role
from shared.windowkeys import load_private_window_key, load_window_key

CONFIG = "role.toml"


@pytest.fixture
def folder(tmp_path: Path) -> RoleFolder:
    return init_role(tmp_path / "role", "p1", "south")[0]


def invoke(command: click.Command, folder: RoleFolder, *arguments: str) -> Result:
    found = CliRunner().invoke(command, ["-c", str(folder.path / CONFIG), *arguments])
    if isinstance(found.exception, TwokeyError):
        raise found.exception
    return found


def publish(folder: RoleFolder, *arguments: str) -> Result:
    command = publish_window_keys_command(("p0", "p1"), CONFIG)
    span = ("--start", "2026-11-20T00:00:00Z", "--end", "2026-11-21T00:00:00Z")
    return invoke(command, folder, "--window", "friday", *span, *arguments)


def test_keys_of_several_windows_are_published_ahead(folder: RoleFolder) -> None:
    found = publish(folder, "--count", "3")
    paths = [Path(line) for line in found.stdout.split()]
    assert [p.name for p in paths] == [f"p1-south.friday-{k}.window-key.json" for k in (1, 2, 3)]
    owner = folder.identity().public
    for k, path in enumerate(paths, 1):
        public = load_window_key(path, owner, f"friday-{k}")
        private = load_private_window_key(folder.state, f"friday-{k}", "p1", "south")
        assert public.key_id() == private.key_id
        assert public.window.end_ms - public.window.start_ms == 86_400_000


def test_keys_go_to_the_folder_that_is_named(folder: RoleFolder, tmp_path: Path) -> None:
    publish(folder, "--out", str(tmp_path / "out"))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["p1-south.friday.window-key.json"]


def test_a_role_publishes_with_its_own_program(folder: RoleFolder) -> None:
    command = publish_window_keys_command(("camera",), CONFIG)
    arguments = (
        "--window",
        "w",
        "--start",
        "2026-11-20T00:00:00Z",
        "--end",
        "2026-11-21T00:00:00Z",
    )
    with pytest.raises(ConfigError, match="is the folder of a p1, expected camera"):
        invoke(command, folder, *arguments)


def test_a_window_whose_times_make_no_sense_is_refused(folder: RoleFolder) -> None:
    with pytest.raises(InputError, match="expected the form"):
        publish(folder, "--start", "yesterday")
    with pytest.raises(InputError, match="start must be before its end"):
        publish(folder, "--end", "2026-11-19T00:00:00Z")
    with pytest.raises(InputError, match="window"):
        publish(folder, "--window", "../x")
    assert not (folder.state / "window-keys").exists()


def test_an_identity_is_trusted_by_its_fingerprint(folder: RoleFolder, tmp_path: Path) -> None:
    _, other, public = init_role(tmp_path / "camera", "camera", "door")
    command = trust_command(CONFIG)
    with pytest.raises(AuthenticationFailed, match="not the one that was given"):
        invoke(
            command, folder, str(public), "--fingerprint", folder.identity().public.fingerprint()
        )
    assert folder.trusted().everybody() == []
    spoken = other.public.fingerprint().upper().replace(" ", "")
    invoke(command, folder, str(public), "--fingerprint", spoken)
    assert folder.trusted().everybody() == [other.public]
    shown = invoke(identity_command(("p0", "p1"), CONFIG), folder).stdout
    assert folder.identity().public.fingerprint() in shown
    assert f"trusts       camera door {other.public.fingerprint()}" in shown
