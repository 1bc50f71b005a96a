"""The shell around commands, as a user meets it: one line, an exit code, no traceback."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from shared import errors
from shared.cli import describe, program, run, typed_os_error

ROOT = Path(__file__).parents[2]


def example() -> click.Group:
    group = program("twokey-example", "An example.")

    @group.command()
    @click.argument("what")
    def do(what: str) -> int | None:
        if what == "tamper":
            raise errors.TamperDetected("found\nthis \x1b[31m")
        if what == "missing":
            Path("/nonexistent/file").read_bytes()
        if what == "bug":
            raise ValueError("the secret is 42")
        if what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if what == "memory":
            raise MemoryError
        if what == "ask":
            click.prompt("name")
        if what == "print":
            for number in range(100_000):
                click.echo(number)
        if what == "dump":
            click.echo(os.stat(f"/proc/{os.getpid()}/mem").st_uid)
        if what == "sleep":
            click.echo("ready")
            time.sleep(60)
        return 1 if what == "unexpected" else None

    return group


def call(
    capfd: pytest.CaptureFixture[str], *args: str, environment: dict[str, str] | None = None
) -> tuple[int | str | None, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TWOKEY_DEBUG", "")
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as caught:
            run(example(), args, holds_secrets=False)
    out, err = capfd.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize(
    ("what", "code", "line"),
    [
        ("tamper", 3, "error: found this ?[31m"),
        ("missing", 2, "error: /nonexistent/file: No such file or directory"),
        ("full", 4, "error: No space left on device"),
        ("memory", 4, "error: out of memory"),
        ("unexpected", 1, ""),
        ("nothing", 0, ""),
    ],
)
def test_an_outcome_is_one_line_and_an_exit_code(
    capfd: pytest.CaptureFixture[str], what: str, code: int, line: str
) -> None:
    assert call(capfd, "do", what) == (code, "", line + "\n" if line else "")


def test_an_error_that_is_not_ours_shows_its_place_but_not_its_text(
    capfd: pytest.CaptureFixture[str],
) -> None:
    code, _, err = call(capfd, "do", "bug")
    assert code == errors.EXIT_UNEXPECTED
    assert err.startswith("error: internal error ValueError in test_cli.py:")
    assert "42" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("how", ["option", "environment"])
def test_tracebacks_are_shown_on_request_only(capfd: pytest.CaptureFixture[str], how: str) -> None:
    if how == "option":
        code, _, err = call(capfd, "--debug", "do", "bug")
    else:
        code, _, err = call(capfd, "do", "bug", environment={"TWOKEY_DEBUG": "1"})
    assert code == errors.EXIT_UNEXPECTED
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("do",), "error: twokey-example do: Missing argument 'WHAT'."),
        (("nope",), "error: twokey-example: No such command 'nope'."),
        (("--nope",), "error: twokey-example: No such option '--nope'."),
    ],
)
def test_a_wrong_usage_is_one_line(
    capfd: pytest.CaptureFixture[str], args: tuple[str, ...], line: str
) -> None:
    code, out, err = call(capfd, *args)
    assert (code, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_no_command_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capfd)
    assert (code, out) == (2, "")
    assert "An example." in err


def test_the_version_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capfd, "--version")
    assert code == 0
    assert out.startswith("twokey-example, version ")


def test_input_that_ends_early_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull, encoding="utf-8") as empty:
        monkeypatch.setattr(sys, "stdin", empty)
        code, _, err = call(capfd, "do", "ask")
    assert code == 2
    assert err.endswith("error: the input ended where an answer was expected\n")


def start(*args: str) -> subprocess.Popen[bytes]:
    text = (  # what a shell runs in the background ignores interrupts, and so do its children
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.shared.test_cli import example; from shared.cli import run\n"
        "run(example(), sys.argv[1:])"
    )
    return subprocess.Popen(
        [sys.executable, "-c", text, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )


def test_an_interrupt_ends_quietly_with_130() -> None:
    with start("do", "sleep") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        child.send_signal(signal.SIGINT)
        _, err = child.communicate()
    assert (child.returncode, err.strip()) == (130, b"")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    with start("do", "print") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.readline()
        child.stdout.close()
        err = child.stderr.read()
    assert (child.returncode, err) == (1, b"")


def test_a_process_that_holds_secrets_cannot_be_dumped() -> None:
    text = (
        "import ctypes, resource; from shared.cli import forbid_core_dumps; forbid_core_dumps()\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "(0, 0) 0\n"


ENTRY = """
import atexit, ctypes, importlib, resource, sys

def told():
    print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))

atexit.register(told)
main = importlib.import_module(sys.argv[1]).main
sys.argv = ["twokey", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize("role", ["dealer", "party", "camera"])
@pytest.mark.parametrize("arguments", [("--help",), ("identity", "-c", "missing/x.toml"), ("?",)])
def test_every_roles_process_forbids_dumps_before_its_command_runs(
    role: str, arguments: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, f"{role}.cli", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout.splitlines()[-1] == "(0, 0) 0", done.stderr


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, errors.DiskFull),
        (errno.EDQUOT, errors.DiskFull),
        (errno.EACCES, errors.InputError),
        (errno.EADDRINUSE, errors.ResourceError),
        (errno.EMFILE, errors.ResourceError),
    ],
)
def test_failed_system_calls_have_a_type(number: int, kind: type[errors.TwokeyError]) -> None:
    assert type(typed_os_error(OSError(number, os.strerror(number), "x"))) is kind


def test_every_typed_error_has_a_documented_exit_code() -> None:
    def below(kind: type[errors.TwokeyError]) -> list[type[errors.TwokeyError]]:
        return [kind] + [one for child in kind.__subclasses__() for one in below(child)]

    ours = [kind for kind in below(errors.TwokeyError) if kind.__module__ == "shared.errors"]
    assert len(ours) > 20
    for kind in ours:
        assert describe(kind("what"))[1] in (1, 2, 3, 4)
        assert describe(kind())[0] == kind.__name__
