"""The reference of all configuration keys, made from the models so that it can't drift."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from shared.config import section_of, to_toml

_LIMITS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "above {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "below {}"),
    ("minLength", "{} characters or more"),
    ("maxLength", "{} characters or fewer"),
    ("minItems", "{} items or more"),
    ("maxItems", "{} items or fewer"),
    ("pattern", "matches `{}`"),
)


def render_reference(models: Mapping[str, type[BaseModel]]) -> str:
    """Markdown: a chapter per file name, a table per section: key, type, default, meaning."""
    lines = [
        "# Configuration",
        "",
        "One TOML file per program. Unknown keys are refused; relative paths are relative to the",
        "folder of the file. `init` writes the file with these defaults and comments.",
        "",
    ]
    for title, model in models.items():
        lines += [f"## {title}", ""]
        if model.__doc__:
            lines += [*_text(model.__doc__), ""]
        lines += _section(model, "")
    return "\n".join(lines).rstrip() + "\n"


def _section(model: type[BaseModel], prefix: str) -> Iterator[str]:
    schema = model.model_json_schema()
    plain = {n: f for n, f in model.model_fields.items() if section_of(f.annotation) is None}
    if plain:
        yield "| key | type | default | meaning |"
        yield "|---|---|---|---|"
    for name, field in plain.items():
        kind = _kind(schema["properties"][name], schema.get("$defs", {}))
        if field.is_required():
            default = "required"
        else:
            value = field.get_default(call_default_factory=True)
            default = "none" if value is None else f"`{to_toml(value)}`"
        meaning = " ".join(_text(field.description or "")).replace("<", "&lt;")
        yield f"| `{prefix}{name}` | {_cell(kind)} | {_cell(default)} | {_cell(meaning)} |"
    if plain:
        yield ""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is not None:
            yield f"### `[{prefix}{name}]`"
            yield ""
            yield from _text(field.description or section.__doc__ or "")
            yield ""
            yield from _section(section, f"{prefix}{name}.")


def _kind(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return _kind(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        kinds = [_kind(one, definitions) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(kinds)
    if "enum" in schema:
        return "one of " + ", ".join(f"`{to_toml(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{to_toml(schema['const'])}`"
    kind = str(schema.get("format") or schema.get("type", "any"))
    if kind == "array":
        kind = f"list of {_kind(schema.get('items', {}), definitions)}"
    elif kind == "object":
        kind = "table"
    limits = [text.format(schema[key]) for key, text in _LIMITS if key in schema]
    return ", ".join([kind, *limits])


def _text(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
