"""The course of an endurance run, and its report."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from party.statefiles import LINES_FILE
from perf.deployment import PARTIES
from perf.report import machine
from shared.errors import ResourceError, TwokeyError
from tests.processes.endurance.camera import SENT
from tests.processes.endurance.judge import BURNED, UNRESOLVED, VERIFIED, Judge
from tests.processes.endurance.logbook import FLAT_OUT, Logbook
from tests.processes.endurance.people import make_crowd
from tests.processes.endurance.plan import Plan
from tests.processes.endurance.samples import KEPT, Samples
from tests.processes.endurance.stage import DEALER, Stage, build

_POLL_SECONDS = 0.2
_FIRST_MINT_BYTES = 60e6  # a second, of a disk that others use as well
_MINT_AT = 0.1  # of a window: the next one's material is minted from then on
_APART_SECONDS = 4.0  # at most, between the two parties' changes of the watchlist
_END_SECONDS = 300.0
_START_SECONDS = 600.0  # of a tree whose kernels are compiled for the first time
_CHUNK = 16 << 20
Say = Callable[[str], None]


@dataclass
class Run:
    """One run. Everything that happens is in `report` afterwards."""

    stage: Stage
    say: Say
    samples: Samples = field(default_factory=Samples)
    restarts: list[dict[str, object]] = field(default_factory=list)
    mints: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.stage.plan
        self.plan = plan
        self.judge = Judge(self.stage.crowd, plan.patience)
        self.logs = Logbook(() if plan.rate else FLAT_OUT)
        self._chance = random.Random(plan.seed)
        self._second_list: tuple[float, str] | None = None
        self._minting: tuple[int, float] | None = None
        self._next_window = 1
        self._at: dict[int, int] = {}  # how far a file was read, by its inode
        self._moved = 0
        self._ending = False
        self.audit: list[str] = []
        self.seconds = 0.0

    # -- the course --------------------------------------------------------------------------

    def go(self) -> None:
        """From the first mint to the last outcome. Raises ResourceError when a role gives up."""
        self._prepare()
        plan, stage = self.plan, self.stage
        due = {
            "list": plan.watchlist_seconds / 3,
            "restart": plan.restart_seconds / 2,
            "rotate": plan.rotate_seconds,
            "sample": 0.0,
            "say": 60.0,
        }
        self.samples = Samples()
        for camera in plan.names:
            stage.start(camera)
        while (now := self.samples.now) < plan.seconds:
            if now >= due["sample"]:
                due["sample"] += plan.sample_seconds
                self._look()
            if now >= due["list"]:
                due["list"] += plan.watchlist_seconds
                self._change_list()
            self._finish_list(now)
            if now >= due["restart"]:
                due["restart"] += plan.restart_seconds
                self._restart(PARTIES[len(self.restarts) % 2])
            if now >= due["rotate"]:
                due["rotate"] += plan.rotate_seconds
                self._rotate()
            if now >= due["say"]:
                due["say"] += 60.0
                self._tell()
            self._mint(now)
            self._follow()
            time.sleep(_POLL_SECONDS)
        self.seconds = self.samples.now
        self._end()

    def _prepare(self) -> None:
        """Both parties, keys, the first window's material, and a session in it."""
        plan, stage = self.plan, self.stage
        for party in PARTIES:
            stage.start(party)
        self._until(
            lambda: all(stage.status(party) for party in PARTIES),
            _START_SECONDS,
            "both parties run",
        )
        lead = 20.0 + 5 * plan.cameras + plan.window_bytes() / _FIRST_MINT_BYTES
        stage.publish_keys(time.time_ns() // 1_000_000 + round(1000 * lead))
        stage.begin_minting(0)
        begun = time.monotonic()
        self._until(stage.minted, _END_SECONDS + 10 * lead, "the first window is minted")
        self.say(f"the first window was minted in {time.monotonic() - begun:.0f} s")
        stage.hand_out(0)
        self._until(
            lambda: all(stage.up(party) for party in PARTIES),
            _END_SECONDS,
            "the parties are in session",
        )
        while time.time_ns() // 1_000_000 < stage.start_ms:
            time.sleep(_POLL_SECONDS)
        self.say("faces come from now on")

    def _until(self, reached: Callable[[], bool], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            self._alive()
            if time.monotonic() > deadline:
                raise ResourceError(f"not in {seconds:.0f} s: {what}")
            time.sleep(_POLL_SECONDS)

    def _end(self) -> None:
        stage = self.stage
        while self._second_list is not None:
            self._finish_list(self.samples.now)
            time.sleep(_POLL_SECONDS)
        self._ending = True
        stage.no_more_faces()
        deadline = time.monotonic() + _END_SECONDS
        waiting = set(self.plan.names)
        while waiting:
            for camera in sorted(waiting):
                code = stage.processes[camera].poll()
                if code == 0:
                    waiting.discard(camera)
                elif code is not None:
                    raise ResourceError(f"{camera} ended with exit code {code}")
            if time.monotonic() > deadline:
                raise ResourceError(f"no outcomes for {', '.join(sorted(waiting))}")
            self._follow()
            time.sleep(_POLL_SECONDS)
        self._look()
        for party in PARTIES:
            stage.stop(party)
            del stage.processes[party]
        self._read_to_the_end()
        self.judge.finish()
        self._audit()
        for who in (*PARTIES, *self.plan.names, DEALER):
            self.logs.read(who, stage.log(who))

    # -- what happens meanwhile ----------------------------------------------------------------

    def _change_list(self) -> None:
        """One party's list now, the other one's a little later."""
        first, second = self._chance.sample(PARTIES, 2)
        self.judge.change_begins(time.time_ns() // 1_000_000)
        self.stage.write_list(first, len(self.judge.changes))
        apart = self._chance.uniform(0.0, min(_APART_SECONDS, self.plan.watchlist_seconds / 4))
        self._second_list = (self.samples.now + apart, second)

    def _finish_list(self, now: float) -> None:
        if self._second_list is None or now < self._second_list[0]:
            return
        self.stage.write_list(self._second_list[1], len(self.judge.changes))
        self.judge.change_is_complete(time.time_ns() // 1_000_000)
        self._second_list = None

    def _restart(self, who: str) -> None:
        at = self.samples.now
        took = self.stage.stop(who)
        self.stage.start(who)
        self.restarts.append({"who": who, "at": round(at, 1), "stopped_in": round(took, 2)})

    def _mint(self, now: float) -> None:
        """The next window's material, as long as this one lasts."""
        if self._minting is not None:
            number, begun = self._minting
            if self.stage.minted():
                self.stage.hand_out(number)
                took, left = now - begun, number * self.plan.window_seconds - now
                self.mints.append(
                    {
                        "window": self.stage.window(number),
                        "seconds": round(took, 1),
                        "slots": self.plan.cameras * self.plan.window_slots(number),
                        "ready_ahead": round(left, 1),
                    }
                )
                self._minting = None
            return
        number = self._next_window
        begins = (number - 1 + _MINT_AT) * self.plan.window_seconds
        if number < self.plan.windows and now >= begins:
            self._next_window += 1
            self.stage.begin_minting(number)
            self._minting = (number, now)

    def _rotate(self) -> None:
        """The files of event lines are moved away, as `logrotate` does, and removed once read."""
        for party in PARTIES:
            path = self.stage.made.folder(party).state / LINES_FILE
            if path.exists():
                self._moved += 1
                path.rename(path.with_name(f"{LINES_FILE}.{self._moved:06d}"))

    def _follow(self) -> None:
        """New event lines in their order, new frames."""
        self._alive()
        for party in PARTIES:
            state = self.stage.made.folder(party).state
            current = state / LINES_FILE
            moved = sorted(state.glob(f"{LINES_FILE}.*"))
            for path in moved:
                over = current.exists()  # then nothing is added to this one any more
                self.judge.lines(party, self._more(path))
                if not over:
                    break
                del self._at[path.stat().st_ino]
                path.unlink()
            else:
                if current.exists():
                    self.judge.lines(party, self._more(current))
        for camera in self.plan.names:
            path = self.stage.sent(camera)
            if path.exists():
                self.judge.sent(camera, self._more(path, SENT.size))

    def _more(self, path: Path, whole: int = 1) -> bytes:
        """What was appended to a file since the last time, under whatever name."""
        with path.open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            begin = self._at.setdefault(inode, 0)
            file.seek(begin)
            content = file.read(_CHUNK)
        content = content[: len(content) // whole * whole]
        self._at[inode] = begin + len(content)
        return content

    def _read_to_the_end(self) -> None:
        """Of the parties' event lines, after they have ended."""
        for party in PARTIES:
            state = self.stage.made.folder(party).state
            for path in (*sorted(state.glob(f"{LINES_FILE}.*")), state / LINES_FILE):
                while path.exists() and (content := self._more(path)):
                    self.judge.lines(party, content)

    def _alive(self) -> None:
        """Raises ResourceError when a role that should run has ended."""
        for who in self.stage.ended():
            if who != DEALER and not (who in self.plan.names and self._ending):
                code = self.stage.processes[who].returncode
                last = self.stage.log(who).read_text(errors="replace").splitlines()[-1:]
                raise ResourceError(f"{who} ended with exit code {code}: {' '.join(last)}")

    def _look(self) -> None:
        """A sample of everything, and the logs so far."""
        stage = self.stage
        running = {
            who: (process.pid, stage.since[who] - self.samples.began)
            for who, process in stage.processes.items()
            if process.poll() is None
        }
        self.samples.take(running, stage.root)
        for who in (*PARTIES, *self.plan.names, DEALER):
            self.logs.read(who, stage.log(who))

    def _tell(self) -> None:
        judge, most = self.judge, self.samples.processes
        memory = ", ".join(
            f"{who} {most[who][-1].memory >> 20} MiB" for who in PARTIES if most.get(who)
        )
        self.say(
            f"{self.samples.now / 60:.1f} min: {judge.faces:,} faces, "
            f"{judge.counts['p0'][VERIFIED]:,} verified, {judge.counts['p0'][BURNED]:,} burned, "
            f"{len(judge.changes)} lists, {len(self.restarts)} restarts, "
            f"{len(self.mints)} windows minted meanwhile; {memory}; "
            f"{len(judge.problems) + judge.more_problems} problems, "
            f"{sum(self.logs.kinds.values())} unexpected log lines"
        )

    # -- the end -------------------------------------------------------------------------------

    def _audit(self) -> None:
        """Both logs are sound and tell the same, by the operators' own commands."""
        root = self.stage.root
        configs = {who: str(root / who / "party.toml") for who in PARTIES}
        exported = str(root / "p1.audit")
        for command in (
            ("verify", "-c", configs["p1"]),
            ("export", "-c", configs["p1"], exported),
            ("verify", "-c", configs["p0"], "--other", exported),
        ):
            code, text = self.stage.command("party", "audit", *command)
            self.audit.append(f"audit {command[0]}: exit code {code}: {text.strip()}")
            if code != 0:
                self.judge.problem(self.audit[-1])

    def report(self) -> dict[str, object]:
        """Everything, for a JSON file. sound: no problem, nothing unexpected, all flat."""
        judge, plan = self.judge, self.plan
        flat = self.samples.judged(plan.window_seconds)
        kept = {
            kind: round((points[-1][1] - points[0][1]) / max(judge.faces, 1), 1)
            for kind, points in self.samples.disk.items()
            if kind in KEPT
        }
        for who in PARTIES:
            for what in (BURNED, UNRESOLVED):
                if judge.counts[who][what]:
                    judge.problem(f"{who}: {judge.counts[who][what]} faces are {what}")
            if judge.announcements[who]:
                judge.problem(f"{who}: announced {dict(judge.announcements[who])}")
        lags = [change.lag_seconds for change in judge.changes]
        return {
            "sound": not (
                judge.problems or self.logs.unexpected or any(not one.flat for one in flat)
            ),
            "plan": asdict(plan),
            "machine": machine(),
            "seconds": round(self.seconds, 1),
            "faces": judge.faces,
            "faces_per_second": round(judge.faces / self.seconds, 1) if self.seconds else 0.0,
            "matches": judge.matches,
            "bits_compared": sum(c[VERIFIED] for c in judge.counts.values()) * plan.listed,
            "counts": {who: dict(counts) for who, counts in judge.counts.items()},
            "announcements": {who: dict(kinds) for who, kinds in judge.announcements.items()},
            "told": judge.told[:200],
            "windows": sorted(judge.windows),
            "minted_meanwhile": self.mints,
            "restarts": self.restarts,
            "list_changes": [asdict(change) for change in judge.changes],
            "list_lag_seconds": {
                "median": round(median(lags), 2) if lags else 0.0,
                "most": round(max(lags, default=0.0), 2),
            },
            "most": self.samples.most(),
            "flatness": [one._asdict() for one in flat],
            "kept_bytes_per_face": kept,
            "audit": self.audit,
            "expected_log_lines": dict(self.logs.expected),
            "unexpected_log_lines": dict(self.logs.kinds),
            "unexpected_log_examples": self.logs.unexpected[:100],
            "problems": judge.problems,
            "more_problems": judge.more_problems,
        }


def endure(root: Path, plan: Plan, say: Say) -> tuple[dict[str, object], Samples]:
    """The whole run below an empty folder; its report and all samples.

    A role that gives up ends the run; the report tells it as a problem.
    """
    crowd = make_crowd(plan)
    with build(root, plan, crowd) as stage:
        run = Run(stage, say)
        try:
            run.go()
        except TwokeyError as error:
            run.seconds = run.seconds or run.samples.now
            run.judge.problem(f"{type(error).__name__}: {error}")
        return run.report(), run.samples
