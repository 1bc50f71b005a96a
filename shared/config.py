"""Configuration files: TOML against a pydantic model, unknown keys refused, defaults rendered."""

from __future__ import annotations

import difflib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from shared.atomicfile import SMALL_FILE_LIMIT, open_input
from shared.errors import ConfigError

Model = TypeVar("Model", bound=BaseModel)


class Config(BaseModel):
    """The base of every configuration model: frozen, unknown keys refused.

    Each field has a description; it becomes the comment in the file and the line in the docs.
    A section is a field whose type is another `Config`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def load(model: type[Model], path: Path) -> Model:
    """The checked content of a configuration file. Raises ConfigError, in one line.

    Values must have the right type as they stand ("5" is no integer). Relative paths, and
    defaults that are relative paths, are relative to the folder of the file.
    """
    try:
        with open_input(path, "configuration file") as file:
            content = file.read(SMALL_FILE_LIMIT + 1)
    except OSError as error:
        raise ConfigError(f"configuration file {path}: {error.strerror}") from error
    if len(content) > SMALL_FILE_LIMIT:
        raise ConfigError(f"configuration file {path}: larger than {SMALL_FILE_LIMIT} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"configuration file {path}: not UTF-8 at byte {error.start}") from error
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # of TOML, or of an integer with thousands of digits
        raise ConfigError(f"configuration file {path}: {error}") from error
    except RecursionError:
        raise ConfigError(f"configuration file {path}: brackets nested too deeply") from None
    for key, value in _numbers(values, ""):
        if not math.isfinite(value):
            raise ConfigError(f"configuration file {path}: key {key}: found {value}, not finite")
    try:
        # By way of JSON: pydantic's strict rules for JSON allow a string for a path or an
        # enumeration, but no string for a number.
        found = model.model_validate_json(orjson.dumps(values), strict=True)
    except orjson.JSONEncodeError as error:  # TOML integers have no limit
        raise ConfigError(f"configuration file {path}: {error}") from error
    except ValidationError as error:
        problems = error.errors(include_url=False)
        problems.sort(key=lambda problem: problem["type"] != "extra_forbidden")  # misspelt keys
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ConfigError(
            f"configuration file {path}: {_problem(model, problems[0])}{more}"
        ) from error
    return _with_absolute_paths(found, path.resolve().parent)


def render(model: type[BaseModel], values: Mapping[str, Any] | None = None) -> str:
    """A commented TOML file: `values` where given (nested by section), else the defaults.

    A required key without a value, and a key whose default is none, is left as a comment.
    """
    return "\n".join(_render(model, values or {}, ())).strip() + "\n"


def write_default(
    model: type[BaseModel], path: Path, values: Mapping[str, Any] | None = None
) -> None:
    """Writes `render(model, values)` to a new file. Raises ConfigError where one exists."""
    content = render(model, values).encode()
    try:
        with open(path, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError as error:
        raise ConfigError(f"configuration file {path}: exists; it is left as it is") from error


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The model behind a field's type where the field is a section."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return None


def to_toml(value: object) -> str:
    """One TOML value. Raises ConfigError for a type that TOML has not."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    if isinstance(value, Mapping):
        pairs = (f"{to_toml(str(key))} = {to_toml(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(to_toml(item) for item in value) + "]"
    raise ConfigError(f"a value of type {type(value).__name__} has no place in TOML")


def _render(
    model: type[BaseModel], values: Mapping[str, Any], at: tuple[str, ...]
) -> Iterator[str]:
    unknown = set(values) - set(model.model_fields)
    if unknown:
        raise ConfigError(f"configuration: unknown key {'.'.join((*at, min(unknown)))}")
    sections = []
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            sections.append((name, section, field))
            continue
        yield from _comment(field.description)
        value = values.get(name, None)
        if value is None and not field.is_required():
            value = field.get_default(call_default_factory=True)
        yield f"# {name} =" if value is None else f"{name} = {to_toml(value)}"
        yield ""
    for name, section, field in sections:
        yield from _comment(field.description or section.__doc__)
        yield f"[{'.'.join((*at, name))}]"
        yield ""
        given = values.get(name)
        if given is None and not field.is_required():
            given = field.get_default(call_default_factory=True)
        if isinstance(given, BaseModel):
            given = given.model_dump(exclude_none=True)
        yield from _render(section, given or {}, (*at, name))


def _comment(text: str | None) -> Iterator[str]:
    for line in (text or "").strip().splitlines():
        yield f"# {line.strip()}".rstrip()


def _problem(model: type[BaseModel], error: ErrorDetails) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"key {key} is missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), _keys_at(model, error["loc"]), 1)
        return f"unknown key {key}" + (f", perhaps {near[0]}?" if near else "")
    message = error["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message.replace("an object", "a section")
    found = f"key {key}: found {_shown(error['input'])}, " if key else ""
    return f"{found}{message.replace('should be', 'expected', 1)}"


def _keys_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    current: type[BaseModel] | None = model
    for part in place[:-1]:
        field = current.model_fields.get(str(part)) if current is not None else None
        current = section_of(field.annotation) if field is not None else None
    return list(current.model_fields) if current is not None else []


def _numbers(content: object, key: str) -> Iterator[tuple[str, float]]:
    if isinstance(content, float):
        yield key, content
    elif isinstance(content, dict | list):
        items = content.items() if isinstance(content, dict) else enumerate(content)
        for name, value in items:
            yield from _numbers(value, f"{key}.{name}" if key else str(name))


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _with_absolute_paths(model: Model, folder: Path) -> Model:
    changed = {name: _absolute(getattr(model, name), folder) for name in type(model).model_fields}
    return model.model_copy(update=changed)


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value.expanduser()
    if isinstance(value, BaseModel):
        return _with_absolute_paths(value, folder)
    if isinstance(value, list | tuple):
        return type(value)(_absolute(item, folder) for item in value)
    if isinstance(value, dict):
        return {key: _absolute(item, folder) for key, item in value.items()}
    return value
