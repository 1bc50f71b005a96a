"""`twokey-dealer engine` as an operator calls it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dealer.config import CONFIG_FILE
from shared.engine_header import read_engine_header
from shared.engine_plan import SIGN, TRIPLE, client, matmul, parse_kind, plan, truncation
from shared.errors import EXIT_INPUT, EXIT_OK, InputError, RangeError
from shared.roles import RoleFolder, init_role
from shared.trust import read_offered
from shared.windowkeys import publish_window_key
from tests.dealer.test_cli import Done, call
from tests.material_support import WINDOW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dealer's folder with the window keys of both parties and of one client."""
    root = tmp_path / "dealer"
    root.mkdir()
    assert call("init", root).returncode == EXIT_OK
    for role, name in (("p0", "north"), ("p1", "south"), ("camera", "court")):
        made, identity, public = init_role(tmp_path / name, role, name)  # type: ignore[arg-type]
        RoleFolder(root).trusted().add(*read_offered(public))
        publish_window_key(identity, made.state, root / "window-keys", WINDOW)
    return root


def engine(folder: Path, *arguments: str) -> Done:
    return call("engine", "-c", folder / CONFIG_FILE, "--window", WINDOW.id, *arguments)


def test_a_session_is_minted_by_kind_and_count(folder: Path) -> None:
    done = engine(
        folder,
        *("--name", "first", "--client", "court", "--count", "client:0=4"),
        *("--count", "triple=10", "--count", "sign=3", "--count", "matmul:2x3x4=1"),
    )
    assert done.returncode == EXIT_OK, done.stderr
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert [path.parent.name for path in paths] == ["p0", "p1", "client-0"]
    expected = plan({client(0): 4, TRIPLE: 10, SIGN: 3, matmul(2, 3, 4): 1})
    assert {read_engine_header(path).header.plan for path in paths} == {expected}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--name", "a", "--count", "triples=1"), "expected one of mask, input, triple"),
        (("--name", "a", "--count", "triple"), "kind ''"),
        (("--name", "a", "--count", "triple=x"), "KIND=NUMBER"),
        (("--name", "a", "--count", "triple=1", "--count", "triple=2"), "each kind once"),
        (("--name", "a", "--count", "matmul:2x3=1"), "3 numbers"),
        (("--name", "a", "--count", "truncation:63=1"), "parameters from 1 to 62"),
        (("--name", "a/b", "--count", "triple=1"), "letters"),
        (("--name", "a", "--count", "client:0=1"), "go together"),
        (("--name", "a", "--count", "client:0=1", "--client", "nobody"), "nobody"),
    ],
)
def test_a_wrong_order_is_one_line_and_makes_nothing(
    folder: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = engine(folder, *arguments)
    assert done.returncode == EXIT_INPUT
    assert says in done.stderr
    assert not list(folder.rglob("*.tke"))


@pytest.mark.parametrize("kind", [TRIPLE, truncation(7), matmul(1, 2, 3), client(5)])
def test_a_kind_is_read_as_it_is_written(kind: object) -> None:
    assert parse_kind(str(kind)) == kind


@pytest.mark.parametrize("text", ["", "triple:", "triple:1", "matmul:1x2x-3", "input:2", "zero:x"])
def test_a_kind_that_is_none_is_refused(text: str) -> None:
    with pytest.raises((InputError, RangeError)):
        parse_kind(text)
