"""Configuration files: refused with the key's name, rendered from the model, documented by it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from shared.config import Config, load, render, to_toml, write_default
from shared.config_reference import render_reference
from shared.errors import ConfigError


class Net(Config):
    """Where to listen."""

    port: int = Field(default=5000, ge=1, le=65535, description="The port.\nOf TCP.")
    mode: Literal["curve", "plain"] = Field(default="curve", description="Curve | plain.")


class Example(Config):
    """An example."""

    name: str = Field(description="Its name.")
    state: Path = Field(default=Path("state"), description="Where state is kept.")
    ratio: float | None = Field(default=None, description="A ratio.", gt=0)
    keys: tuple[Path, ...] = Field(default=(), description="Key files.")
    net: Net = Field(default=Net(), description="The network.")


def write(folder: Path, text: str) -> Path:
    path = folder / "example.toml"
    path.write_text(text)
    return path


def test_values_are_read_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = load(
        Example,
        write(
            tmp_path,
            'name = "x"\nratio = 1\nkeys = ["a", "/b", "~/c"]\n[net]\nport = 7\n',
        ),
    )
    assert found == Example(
        name="x",
        state=tmp_path / "state",
        ratio=1.0,
        keys=(tmp_path / "a", Path("/b"), Path.home() / "c"),
        net=Net(port=7),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "key name is missing"),
        ("nam = 'x'", "unknown key nam, perhaps name? (and 1 more)"),
        ("name = 'x'\n[net]\nprt = 1", "unknown key net.prt, perhaps port?"),
        ("name = 'x'\nzzz = 1", "unknown key zzz"),
        ("name = 5", "key name: found 5, expected a valid string"),
        ("name = 'x'\n[net]\nport = '7'", 'key net.port: found "7", expected a valid integer'),
        ("name = 'x'\n[net]\nport = true", "key net.port: found true, expected a valid integer"),
        (
            "name = 'x'\n[net]\nport = 70000",
            "key net.port: found 70000, expected less than or equal to 65535",
        ),
        ("name = 'x'\nnet = 3", "key net: found 3, expected a section"),
        ("name = 'x'\nratio = nan", "key ratio: found nan, not finite"),
        ("name = 'x'\nkeys = ['a', 1]", "key keys.1: found 1, expected a valid string"),
        ("name = 'x'\n[net]\nmode = 'c'", "key net.mode: found \"c\", expected 'curve' or 'plain'"),
        ("name = 99999999999999999999999", "Integer exceeds 64-bit range"),
        ("name = ", "Invalid value (at end of document)"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(Example, path)
    assert str(caught.value) == f"configuration file {path}: {expected}"


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not found"):
        load(Example, tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="not a regular file"):
        load(Example, tmp_path)
    (tmp_path / "latin").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        load(Example, tmp_path / "latin")


def test_a_long_value_is_not_repeated_in_full(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(Example, write(tmp_path, f"name = 'x'\n[net]\nport = '{'9' * 5000}'"))
    assert len(str(caught.value)) < 300


def test_the_rendered_file_reads_back_as_the_defaults_with_the_given_values(
    tmp_path: Path,
) -> None:
    path = tmp_path / "example.toml"
    write_default(Example, path, {"name": 'a "b"\n\x7fé', "net": {"mode": "plain"}})
    assert load(Example, path) == Example(
        name='a "b"\n\x7fé', state=tmp_path / "state", net=Net(mode="plain")
    )
    text = path.read_text()
    assert text.index("# Its name.\nname = ") < text.index("# A ratio.\n# ratio =\n")
    assert "# The network.\n[net]\n\n# The port.\n# Of TCP.\nport = 5000\n" in text


def test_a_required_key_without_a_value_is_a_comment() -> None:
    assert "# Its name.\n# name =\n" in render(Example)


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path, "name = 'mine'")
    with pytest.raises(ConfigError, match="exists"):
        write_default(Example, path)
    assert path.read_text() == "name = 'mine'"


def test_values_for_keys_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown key net\.prt"):
        render(Example, {"net": {"prt": 1}})


toml_values = st.recursive(
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(toml_values)
def test_every_value_is_rendered_so_that_toml_reads_it_back(value: object) -> None:
    assert tomllib.loads(f"x = {to_toml(value)}")["x"] == value


def test_a_value_that_toml_has_not_is_refused() -> None:
    with pytest.raises(ConfigError, match="bytes"):
        to_toml(b"x")


def test_the_reference_names_every_key_with_type_default_and_meaning() -> None:
    text = render_reference({"example.toml": Example})
    assert "## example.toml\n\nAn example.\n" in text
    for line in (
        "| `name` | string | required | Its name. |",
        '| `state` | path | `"state"` | Where state is kept. |',
        "| `ratio` | number, above 0 | none | A ratio. |",
        "| `keys` | list of path | `[]` | Key files. |",
        "| `net.port` | integer, at least 1, at most 65535 | `5000` | The port. Of TCP. |",
        '| `net.mode` | one of `"curve"`, `"plain"` | `"curve"` | Curve \\| plain. |',
    ):
        assert line in text
    assert "### `[net]`\n\nThe network.\n" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = " + "[" * 50_000, "nested too deeply"),
        ("name = " + "9" * 5_000, "integer"),
        ("#" * (1 << 20) + "\n", "larger than 1048576 bytes"),
    ],
)
def test_a_file_that_no_operator_writes_is_refused_in_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        load(Example, write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 1
