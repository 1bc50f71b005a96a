"""`twokey-perf engine`: what the SPDZ2k engine does a second, with two processes and CURVE."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import click
import orjson

from perf.engine_party import Sizes
from perf.engine_stage import make_engine_stage, results
from perf.report import Figure, emit, machine, show, summary
from shared.errors import EXIT_OK, EXIT_UNEXPECTED, InputError
from shared.kernels import kernel_name

_CAPTION = (
    "Both parties on a core each, CURVE on, active security: MAC checks, and reading and "
    "decrypting material (in the page cache), are part of the time."
)


FIGURES = (
    "multiplications_per_second",
    "comparisons_per_second",
    "naive_ms_per_face",
    "private_ms_per_face",
    # What it takes of a core, whatever else the machine does: the slower party's threads.
    "busy_ns_per_multiplication",
    "busy_ns_per_comparison",
    "naive_busy_ms_per_face",
    "private_busy_ms_per_face",
)


def engine(
    sizes: Sizes, runs: int, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, object]]:
    """Figures of several runs, and the whole result with the machine. Raises typed errors."""
    cores = sorted(os.sched_getaffinity(0))
    cpus = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="twokey-engine-") as folder:
        stage = make_engine_stage(Path(folder))
        for run in range(runs):
            progress(f"run {run + 1} of {runs}: minting")
            files = stage.mint(sizes.material())
            progress(f"run {run + 1} of {runs}: computing")
            given = orjson.dumps(asdict(sizes)).decode()
            outputs = stage.run(["-m", "perf.engine_party"], files, [given], cpus=cpus)
            found.append(_slower(*results(outputs)))
            for file in files:
                file.unlink()
    figures = [Figure(name, tuple(one[name] for one in found)) for name in FIGURES]
    wrong = sum(one["mismatches"] + one["matching_mismatches"] for one in found)
    sizes_of = {name: value for name, value in found[0].items() if "bytes" in name}
    result: dict[str, object] = {
        **summary(figures),
        **sizes_of,
        "sizes": asdict(sizes),
        "kernel": kernel_name(),
        "mismatches": int(wrong),
        "machine": machine(),
    }
    return figures, result


def _slower(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """A session is as fast as its slower party, and as wrong as its worse one."""
    worse = {name: (min if name.endswith("_per_second") else max) for name in first}
    return {name: pick(first[name], second[name]) for name, pick in worse.items()}


@click.command("engine")
@click.option("--products", default=Sizes().products, type=click.IntRange(1000), help="In a run.")
@click.option("--comparisons", default=Sizes().comparisons, type=click.IntRange(1000))
@click.option("--batch", default=Sizes().batch, type=click.IntRange(1000), help="An operation's.")
@click.option("--entries", default=Sizes().entries, type=click.IntRange(1, 4096))
@click.option("--dim", default=Sizes().dim, type=click.IntRange(1, 4096))
@click.option("--runs", default=3, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="One object, last line.")
def engine_command(*, runs: int, as_json: bool, **given: int) -> int:
    """The SPDZ2k engine: products and 64-bit comparisons a second, and matching with it."""
    sizes = Sizes(**given)
    if sizes.batch > sizes.products:
        raise InputError(f"--batch {sizes.batch}: expected at most --products {sizes.products}")
    figures, result = engine(sizes, runs, lambda text: click.echo(text, err=True))
    show(f"engine: {sizes.products:,} products, {sizes.comparisons:,} signs", figures, _CAPTION)
    if as_json:
        emit(result)
    return EXIT_UNEXPECTED if result["mismatches"] else EXIT_OK
