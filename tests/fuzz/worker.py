"""Runs one target, in a process of its own: `python -m tests.fuzz.worker`, started by `run`."""

from __future__ import annotations

import argparse
import importlib
import json
import random
import resource
import sys
from pathlib import Path
from typing import Any

from tests.fuzz import MODULES

_SPARE = 768 << 20  # of address space, beyond what the process has after all samples
_MOST_SEEDS = 4


def main(arguments: list[str] | None = None) -> None:
    """Judges so many inputs; the report is the content of the file --report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--inputs", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--engine", choices=("mutation", "coverage"), required=True)
    given = parser.parse_args(arguments)
    run = _with_coverage if given.engine == "coverage" else _with_mutations
    run(given.name, given.work, given.report, given.inputs, given.seed)


def _with_mutations(name: str, work: Path, report: Path, inputs: int, seed: int) -> None:
    from tests.fuzz.mutation import mutated
    from tests.fuzz.session import Session, limit_time, tick
    from tests.fuzz.table import targets
    from tests.fuzz.world import open_world

    target = targets(open_world(work))[name]
    session = Session(target, work / "findings")
    for sample in target.samples:
        session.run(sample)
    _limit_memory()
    limit_time()
    rng = random.Random(f"{seed} {name}")
    kept = list(target.samples)
    while session.inputs < inputs:
        tick()
        data = mutated(rng, target.syntax, rng.choice(kept), target.samples)
        session.run(data)
        if rng.random() < 0.01:  # so that mutations add up
            kept[len(target.samples) :] = [*kept[len(target.samples) :], data][-_MOST_SEEDS:]
    report.write_text(json.dumps(session.report()))


def _with_coverage(name: str, work: Path, report: Path, inputs: int, seed: int) -> None:
    """libFuzzer chooses the inputs; half of its mutations are those of `mutation`."""
    import atheris

    with atheris.instrument_imports(include=list(MODULES)):
        for module in MODULES:
            importlib.import_module(module)
    from tests.fuzz.mutation import mutated
    from tests.fuzz.session import SECONDS_AN_INPUT, Session
    from tests.fuzz.table import targets
    from tests.fuzz.world import open_world

    target = targets(open_world(work))[name]
    session = Session(target, work / "findings")
    corpus = work / "corpus" / name.replace(" ", "-")
    corpus.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(target.samples):
        (corpus / f"sample-{number}").write_bytes(sample)

    def one(data: bytes) -> None:
        session.run(data)
        if session.inputs >= inputs or session.inputs % 5_000 == 0:
            report.write_text(json.dumps(session.report()))

    def mutator(data: bytes, limit: int, chosen: int) -> bytes:
        rng = random.Random(chosen)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, limit))
        return mutated(rng, target.syntax, bytes(data), target.samples)[:limit]

    longest = max(map(len, target.samples))
    options: list[Any] = [
        sys.argv[0],
        str(corpus),
        f"-runs={inputs}",
        f"-seed={seed % (1 << 31) + 1}",
        f"-max_len={max(4096, 2 * longest)}",
        f"-timeout={SECONDS_AN_INPUT}",
        "-rss_limit_mb=2048",
        "-malloc_limit_mb=768",
        f"-artifact_prefix={work / 'findings'}/{corpus.name}-",
        "-verbosity=0",
    ]
    (work / "findings").mkdir(exist_ok=True)
    atheris.Setup(options, one, custom_mutator=mutator)
    atheris.Fuzz()


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPARE, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main()
