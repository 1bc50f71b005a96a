"""Fuzzes all decoders: `python -m tests.fuzz.run --inputs 10000000` (docs/adversary.md)."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.fuzz.table import targets
from tests.fuzz.target import Target, judge
from tests.fuzz.world import open_world

_ROUND = 250_000  # inputs of one process


def main(arguments: list[str] | None = None) -> int:
    """One process after the other; exit 1 when there is a finding."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="in all (default: 100000)")
    parser.add_argument("--target", action="append", help="only this one; may be given again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--engine",
        choices=("mutation", "coverage"),
        help="coverage needs atheris (default: coverage where it is installed)",
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("fuzz-work"),
        help="keys, samples, corpus and findings (default: fuzz-work)",
    )
    parser.add_argument("--replay", type=Path, help="judge this one input to the one --target")
    parser.add_argument("--json", type=Path, help="the result, also as JSON in this file")
    given = parser.parse_args(arguments)
    found = targets(open_world(given.work))
    chosen = {name: found[name] for name in given.target or found}
    if given.replay is not None:
        (target,) = chosen.values()
        print(judge(target, given.replay.read_bytes()))
        return 0
    engine = given.engine or (
        "coverage" if importlib.util.find_spec("atheris") is not None else "mutation"
    )
    start = time.monotonic()
    reports = _run(chosen, engine, given)
    result = {
        "engine": engine,
        "seconds": round(time.monotonic() - start),
        "inputs": sum(report["inputs"] for report in reports),
        "findings": sum(len(report["findings"]) for report in reports),
        "targets": reports,
    }
    _show(result)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1) + "\n")
    return 1 if result["findings"] else 0


def _run(chosen: dict[str, Target], engine: str, given: argparse.Namespace) -> list[dict[str, Any]]:
    total = sum(target.share for target in chosen.values())
    reports = []
    for name, target in chosen.items():
        left = math.ceil(given.inputs * target.share / total)
        seed = given.seed
        parts = []
        while left > 0:
            part = min(left, _ROUND)
            parts.append(_worker(name, engine, part, seed, given.work))
            left -= part
            seed += 1
        reports.append(_sum(name, parts))
        print(_line(reports[-1]), flush=True)
    return reports


def _worker(name: str, engine: str, inputs: int, seed: int, work: Path) -> dict[str, Any]:
    """One process; one that ended before its time is a finding of its own."""
    report = work / "report.json"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz.worker", name, "--engine", engine),
            *("--inputs", str(inputs), "--seed", str(seed)),
            *("--work", str(work), "--report", str(report)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    found: dict[str, Any] = {"inputs": 0, "outcomes": {}, "findings": {}}
    if report.exists():
        found = json.loads(report.read_text())
    if done.returncode != 0:
        found["findings"][f"the process ended with {done.returncode}"] = done.stderr[-600:]
    found["seconds"] = time.monotonic() - start
    return found


def _sum(name: str, parts: list[dict[str, Any]]) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    findings: dict[str, str] = {}
    for part in parts:
        findings |= part["findings"]
        for outcome, number in part["outcomes"].items():
            outcomes[outcome] = outcomes.get(outcome, 0) + number
    return {
        "target": name,
        "inputs": sum(part["inputs"] for part in parts),
        "seconds": round(sum(part["seconds"] for part in parts), 1),
        "outcomes": outcomes,
        "findings": findings,
    }


def _line(report: dict[str, Any]) -> str:
    return (
        f"{report['target']}: {report['inputs']} inputs, {report['seconds']} s, "
        f"{len(report['findings'])} findings"
    )


def _show(result: dict[str, Any]) -> None:
    table = Table("target", "inputs", "accepted", "refused", "findings", title=result["engine"])
    for report in result["targets"]:
        outcomes = report["outcomes"]
        accepted = outcomes.get("accepted", 0)
        refused = sum(outcomes.values()) - accepted - outcomes.get("finding", 0)
        row = (report["inputs"], accepted, refused, len(report["findings"]))
        table.add_row(report["target"], *map(str, row))
    Console().print(table)
    print(f"{result['inputs']} inputs in {result['seconds']} s, {result['findings']} findings")
    for report in result["targets"]:
        for where, what in report["findings"].items():
            print(f"{report['target']}: {where}: {what}")


if __name__ == "__main__":
    sys.exit(main())
