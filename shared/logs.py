"""Log records on standard error: one line each, plain or JSON."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime

import orjson

LEVELS = ("debug", "info", "warning", "error")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str = "info", *, json: bool = False) -> None:
    """Sends all records of `level` and above to standard error; replaces earlier settings.

    level: one of LEVELS. What is given as `extra` to a logging call becomes a field. Tracebacks
    are left out, save with TWOKEY_DEBUG set: their lines could show values.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if json else _Plain())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger("numba").setLevel(logging.WARNING)  # it tells thousands of lines a kernel


def one_line(text: str, limit: int = 500) -> str:
    """The text with line breaks and control characters made harmless, cut to `limit`."""
    joined = " ".join(text.split())
    clean = "".join(c if c.isprintable() else "?" for c in joined)
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def debugging() -> bool:
    """Whether TWOKEY_DEBUG is set: tracebacks are shown."""
    return os.environ.get("TWOKEY_DEBUG", "") not in ("", "0")


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[1] is not None:
        text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
    return text


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {key}={value}" for key, value in _fields(record).items())
        text = one_line(_message(record) + fields, limit=2000)
        line = f"{timestamp(record.created)} {record.levelname.lower()} {record.name}: {text}"
        return line + _traceback(self, record)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, object] = {
            **_fields(record),
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": one_line(_message(record), limit=2000),
        }
        if record.exc_info and debugging():
            content["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(content, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_info and debugging():
        return "\n" + formatter.formatException(record.exc_info)
    return ""
