"""The shell around every command: typed errors become one line and an exit code."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

import click

from shared import logs
from shared.errors import (
    EXIT_INPUT,
    EXIT_OK,
    EXIT_UNEXPECTED,
    DiskFull,
    InputError,
    ResourceError,
    TwokeyError,
)

EXIT_INTERRUPTED = 130  # the shells' convention for an end by Ctrl-C
_PR_SET_DUMPABLE = 4
_FROM_INPUT = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)


def program(name: str, summary: str) -> click.Group:
    """A group for a program's commands, with --version, --debug, --log-level and --log-json.

    Add commands with `@group.command()`; a command may return an exit code. End with `run`.
    """

    def prepare(debug: bool, log_level: str, log_json: bool) -> None:
        if debug:
            os.environ["TWOKEY_DEBUG"] = "1"  # for child processes as well
        logs.configure("debug" if debug else log_level, json=log_json)

    group = click.Group(
        name,
        help=summary,
        callback=prepare,
        context_settings={"help_option_names": ["-h", "--help"]},
        params=[
            click.Option(["--debug"], is_flag=True, help="Log everything, show tracebacks."),
            click.Option(
                ["--log-level"],
                type=click.Choice(logs.LEVELS),
                default="info",
                show_default=True,
                help="The least level that is logged to standard error.",
            ),
            click.Option(["--log-json"], is_flag=True, help="Log records as JSON, one a line."),
        ],
    )
    return click.version_option(installed_version(), prog_name=name)(group)


def run(
    command: click.Command, args: Sequence[str] | None = None, *, holds_secrets: bool = True
) -> NoReturn:
    """Runs a command and ends the process with its exit code (docs/operations.md).

    holds_secrets: no core dump may be written of this process.
    """
    if holds_secrets:
        forbid_core_dumps()
    try:
        found = command.main(args, prog_name=command.name, standalone_mode=False)
        code = found if type(found) is int else EXIT_OK
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt) as error:
        if isinstance(error.__context__, EOFError):
            code = fail(InputError("the input ended where an answer was expected"))
        else:
            code = EXIT_INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = EXIT_INPUT
    except BrokenPipeError:
        # The reader has gone. What the interpreter would still flush has nowhere to go.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EXIT_UNEXPECTED
    except Exception as error:  # noqa: BLE001  # the last resort: no traceback for a user
        code = fail(error)
    sys.exit(code)


def fail(error: Exception) -> int:
    """Writes `error: <one line>` to standard error; returns the exit code."""
    if logs.debugging():
        traceback.print_exception(error)
    message, code = describe(error)
    click.echo(f"error: {logs.one_line(message)}", err=True)
    return code


def describe(error: Exception) -> tuple[str, int]:
    """The message and exit code of an error.

    Of an error that is not ours only the type and the place are told: its text could show values.
    """
    if isinstance(error, OSError):
        error = typed_os_error(error)
    if isinstance(error, TwokeyError):
        return str(error) or type(error).__name__, error.exit_code
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        where = f"{context.command_path}: " if context is not None else ""
        return where + error.format_message(), EXIT_INPUT
    if isinstance(error, MemoryError):
        return "out of memory", ResourceError.exit_code
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return (
        f"internal error {type(error).__name__}{where}; TWOKEY_DEBUG=1 shows the traceback",
        EXIT_UNEXPECTED,
    )


def typed_os_error(error: OSError) -> TwokeyError:
    """DiskFull, InputError (a path that is not usable) or ResourceError, in one line."""
    text = error.strerror or type(error).__name__
    line = f"{os.fsdecode(error.filename)}: {text}" if _is_path(error.filename) else text
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(line)
    return InputError(line) if error.errno in _FROM_INPUT else ResourceError(line)


def forbid_core_dumps() -> None:
    """No core dump of this process, and no other process of the user may read its memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def installed_version() -> str:
    """The version of the installed package."""
    try:
        return version("twokey")
    except PackageNotFoundError:
        return "not installed"


def _is_path(name: object) -> bool:
    return isinstance(name, str | bytes)
