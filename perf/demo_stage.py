"""The demonstration's stage: every role in a folder of its own, driven by its public commands only.

What the functions here do is what the quick start tells people to do, in the same order.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from party.status import STATUS_FILE, read_status
from perf.deployment import free_ports
from shared.errors import ResourceError, TwokeyError
from shared.windowkeys import time_text

WINDOW = "demo"
CAMERA = "door"
WATCHED = "Commander"
PARTIES = ("p0", "p1")
EVERYBODY = ("dealer", *PARTIES, CAMERA)
_ORGANISATIONS = {"p0": "police", "p1": "court"}
_WINDOW_SECONDS = 3600
_COMMAND_SECONDS = 180.0
_READY_SECONDS = 90.0
_PROGRAMS = {"dealer": "dealer", "p0": "party", "p1": "party", CAMERA: "camera"}


@dataclass(slots=True)
class Stage:
    """The folders of all roles below `root`. start_ms: Unix time of the video's first frame.

    Every method raises ResourceError, with the command's own line, when a command fails.
    """

    root: Path
    start_ms: int
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def video(self) -> Path:
        """What the camera looks at."""
        return self.root / "street.mp4"

    @property
    def portrait(self) -> Path:
        """The photo of the one person on the watchlist."""
        return self.root / "portrait.png"

    def state(self, who: str) -> Path:
        """A role's private folder."""
        return self.root / who / "state"

    def log(self, who: str) -> Path:
        """Where a party's log goes."""
        return self.root / f"{who}.log"

    # -- before the window ---------------------------------------------------------------

    def init(self) -> None:
        """`init` for every role: keys and a configuration file each."""
        at = [f"tcp://127.0.0.1:{port}" for port in free_ports(3)]
        peer = ("--peer-address", at[2])
        party = ("--name", _ORGANISATIONS["p0"], "--listen", at[0], *peer)
        other = ("--name", _ORGANISATIONS["p1"], "--listen", at[1], *peer)
        self._together(
            lambda: self._init("dealer"),
            lambda: self._init("p0", "--party", "0", *party),
            lambda: self._init("p1", "--party", "1", *other),
            lambda: self._init(
                CAMERA, "--name", CAMERA, "--p0-address", at[0], "--p1-address", at[1]
            ),
        )

    def trust(self) -> None:
        """`trust --fingerprint`: each role trusts whom it deals with."""
        self._together(*(self._trusts(who) for who in EVERYBODY))

    def publish_window_keys(self) -> None:
        """`publish-window-keys`: those who receive material hand a key to the dealer."""
        times = (
            *("--start", time_text(self.start_ms - 60_000)),
            *("--end", time_text(self.start_ms + _WINDOW_SECONDS * 1000)),
        )
        handed = ("--out", str(self.root / "dealer" / "window-keys"))
        self._together(
            *(
                lambda who=who: self._of(
                    who, "publish-window-keys", "--window", WINDOW, *times, *handed
                )
                for who in (*PARTIES, CAMERA)
            )
        )

    def enroll(self) -> None:
        """`enroll`: each party puts the person of the portrait on its own watchlist."""
        self._together(
            *(
                lambda who=who: self._command(
                    *("party", "enroll", str(self.portrait), "--name", WATCHED),
                    *("--watchlist", str(self.root / who / "watchlist.jsonl")),
                )
                for who in PARTIES
            )
        )

    def mint(self, slots: int) -> dict[str, int]:
        """`mint`, and the files handed over; bytes of each recipient's file."""
        config = self.root / "dealer" / "dealer.toml"
        text = config.read_text()
        empty = "cameras = []\n"
        if text.count(empty) != 1:
            raise ResourceError(f"{config}: found no empty list of cameras to fill in")
        cameras = f'cameras = [{{name = "{CAMERA}", slots = {slots}}}]\n'
        config.write_text(text.replace(empty, cameras))
        self._of("dealer", "mint", "--window", WINDOW)
        sizes = {}
        for who, recipient in (("p0", "p0"), ("p1", "p1"), (CAMERA, "camera")):
            made = self.root / "dealer" / "material" / WINDOW / recipient / f"{CAMERA}.tkm"
            sizes[who] = made.stat().st_size
            shutil.move(made, self.root / who / "material" / made.name)
        return sizes

    # -- while the window runs -----------------------------------------------------------

    @contextmanager
    def parties(self) -> Iterator[None]:
        """`run`: both parties' processes, ended in good order (SIGTERM) when the block is left."""
        processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            for who in PARTIES:
                with self.log(who).open("wb") as log:
                    processes[who] = subprocess.Popen(
                        # The level at which a party notes how a masked face begins.
                        _arguments("party", "--log-level", "debug", "run", *self._config(who)),
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
            self._await_ready(processes)
            yield
            for process in processes.values():
                process.send_signal(signal.SIGTERM)
            for who, process in processes.items():
                if process.wait(timeout=30) != 0:
                    raise ResourceError(f"{who} ended with exit code {process.returncode}")
        except subprocess.TimeoutExpired:
            raise ResourceError("a party does not end") from None
        finally:
            for process in processes.values():
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def film(self) -> dict[str, int]:
        """`run`: the camera's process, over the whole video; its summary."""
        times = ("--start", time_text(self.start_ms), "--json")
        said = self._of(CAMERA, "run", str(self.video), *times)
        summary: dict[str, int] = orjson.loads(said.splitlines()[-1])
        return summary

    # -- inside --------------------------------------------------------------------------

    def _init(self, who: str, *arguments: str) -> None:
        said = self._command(_PROGRAMS[who], "init", str(self.root / who), *arguments)
        (line,) = (line for line in said.splitlines() if line.startswith("fingerprint"))
        self.fingerprints[who] = line.removeprefix("fingerprint").strip(": ")

    def _trusts(self, who: str) -> Callable[[], None]:
        public = {
            other: next((self.root / other / "published").glob("*.identity.json"))
            for other in EVERYBODY
        }

        def work() -> None:
            for other in EVERYBODY:
                if other != who:
                    compared = ("--fingerprint", self.fingerprints[other])
                    self._of(who, "trust", *compared, str(public[other]))

        return work

    def _of(self, who: str, command: str, *arguments: str) -> str:
        """A command of a role in its own folder."""
        return self._command(_PROGRAMS[who], command, *self._config(who), *arguments)

    def _config(self, who: str) -> tuple[str, str]:
        return "-c", str(self.root / who / f"{_PROGRAMS[who]}.toml")

    def _command(self, *arguments: str) -> str:
        """Runs `python -m <arguments>`; its standard output."""
        try:
            done = subprocess.run(
                _arguments(*arguments),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ResourceError(f"{' '.join(arguments[:2])}: not done in time") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
            raise ResourceError(
                f"{' '.join(arguments[:2])} ended with exit code {done.returncode}: {said[-1]}"
            )
        return done.stdout.decode()

    @staticmethod
    def _together(*work: Callable[[], object]) -> None:
        with ThreadPoolExecutor(len(work)) as pool:
            for running in [pool.submit(one) for one in work]:
                running.result()

    def _await_ready(self, processes: dict[str, subprocess.Popen[bytes]]) -> None:
        """Until both parties have agreed on the watchlist and prepared slots for its entry."""
        deadline = time.monotonic() + _READY_SECONDS
        while not all(self._is_ready(who) for who in PARTIES):
            for who, process in processes.items():
                if process.poll() is not None:
                    raise ResourceError(f"{who} ended with exit code {process.returncode}")
            if time.monotonic() > deadline:
                raise ResourceError(f"the parties are not ready after {_READY_SECONDS:.0f} s")
            time.sleep(0.1)

    def _is_ready(self, who: str) -> bool:
        try:
            found, alive = read_status(self.state(who) / STATUS_FILE, time.time())
        except TwokeyError:
            return False
        cameras = [c for window in found["windows"] for c in window["cameras"].values()]
        return alive and any(camera["prepared"] > 0 for camera in cameras)


def _arguments(program: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", program, *arguments]
