"""The programs' commands, run one after the other by a process that loads them once.

It forks for each command; what runs in the fork is the command itself, with its own exit code and
standard error.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.adversary.real.ground import ROOT

_SECONDS = 120.0
_NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Ended:
    """A command's exit code, its standard error, and whether it was asked to end as it served."""

    code: int
    text: str
    served: bool

    @property
    def errors(self) -> list[str]:
        """The lines of standard error that are no log records."""
        return [line for line in self.text.splitlines() if line[4:5] + line[10:11] != "-T"]


class Commands:
    """Use as a context manager. folder: for what the commands write; others can enter it."""

    def __init__(self, folder: Path) -> None:
        self._code, self._err = folder / "code", folder / "err"
        self._server: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.communicate()  # its input ends, and so does it

    def run(
        self,
        *arguments: object,
        serving: Callable[[int], bool] | None = None,
        anybody: bool = False,
    ) -> Ended:
        """One command: `party run -c ...`, without `python -m`.

        serving: whether the process of this id is at work; then it is asked to end. anybody: as a
        user without rights. AssertionError when it does not end.
        """
        server = self._server
        if server is None or server.stdin is None or server.stdout is None:
            raise RuntimeError("not started")
        self._code.unlink(missing_ok=True)
        self._err.write_bytes(b"")
        self._err.chmod(0o666)
        request = [list(map(str, arguments)), str(self._code), str(self._err), anybody]
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        pid = int(server.stdout.readline())
        asked = overdue = False
        deadline = time.monotonic() + _SECONDS
        while not self._code.exists():
            if serving is not None and not asked and serving(pid):
                os.kill(pid, signal.SIGTERM)
                asked = True
            if time.monotonic() > deadline and not overdue:
                os.kill(pid, signal.SIGKILL)
                overdue = True
            time.sleep(0.005)
        text = self._err.read_text(errors="replace")
        if overdue:
            raise AssertionError(f"does not end: {text[-2000:]}")
        return Ended(int(self._code.read_text()), text, asked)


# -- the process that forks -------------------------------------------------------------------


def serve() -> None:
    """Answers each request with a process id, and writes its exit code in the end."""
    commands = _loaded()
    for line in sys.stdin:
        arguments, code, err, anybody = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _command(commands[arguments[0]], arguments[1:], Path(err), anybody=anybody)
        print(pid, flush=True)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        whole = Path(f"{code}.new")
        whole.write_text(str(ended))
        whole.rename(code)


def _loaded() -> dict[str, Any]:
    from camera.cli import cli as camera
    from dealer.cli import program as dealer
    from party.cli import cli as party
    from party.warmup import warm_up
    from tests.processes.child import child

    warm_up()
    return {"party": party, "camera": camera, "dealer": dealer, "child": child}


def _command(command: Any, arguments: Sequence[str], err: Path, *, anybody: bool) -> None:
    from shared.cli import run

    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(0, 1)
    os.dup2(os.open(err, os.O_WRONLY | os.O_APPEND), 2)
    if anybody:
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    code = 1
    try:
        run(command, list(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
