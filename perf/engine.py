"""`twokey-perf engine`: products and comparisons a second, with two processes and CURVE."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from perf.engine_party import material
from perf.engine_stage import make_engine_stage, results
from perf.report import Figure, emit, machine, show, summary
from shared.errors import EXIT_OK, EXIT_UNEXPECTED
from shared.kernels import kernel_name

_CAPTION = (
    "Both parties on a core each, CURVE on, active security: MAC checks, and reading and "
    "decrypting material (in the page cache), are part of the time."
)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is done in a run, and how many elements in one operation."""

    products: int
    comparisons: int
    batch: int
    runs: int


def engine(
    wanted: Sizes, progress: Callable[[str], None]
) -> tuple[list[Figure], dict[str, object]]:
    """Figures of several runs, and the whole result with the machine. Raises typed errors."""
    cores = sorted(os.sched_getaffinity(0))
    cpus = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory(prefix="twokey-engine-") as folder:
        stage = make_engine_stage(Path(folder))
        for run in range(wanted.runs):
            progress(f"run {run + 1} of {wanted.runs}: minting")
            files = stage.mint(material(wanted.products, wanted.comparisons, wanted.batch))
            sizes = [str(wanted.products), str(wanted.comparisons), str(wanted.batch)]
            progress(f"run {run + 1} of {wanted.runs}: computing")
            outputs = stage.run(["-m", "perf.engine_party"], files, sizes, cpus=cpus)
            # The session is as fast as the slower party.
            both = results(outputs)
            found.append({name: min(one[name] for one in both) for name in both[0]})
            found[-1]["mismatches"] = max(one["mismatches"] for one in both)
            for file in files:
                file.unlink()
    figures = [
        Figure(name, tuple(one[name] for one in found))
        for name in ("multiplications_per_second", "comparisons_per_second")
    ]
    result: dict[str, object] = {
        **summary(figures),
        "bytes_per_multiplication": found[0]["bytes_per_multiplication"],
        "bytes_per_comparison": found[0]["bytes_per_comparison"],
        "batch": wanted.batch,
        "kernel": kernel_name(),
        "mismatches": int(sum(one["mismatches"] for one in found)),
        "machine": machine(),
    }
    return figures, result


@click.command("engine")
@click.option("--products", default=1 << 22, type=click.IntRange(1000), help="In a run.")
@click.option("--comparisons", default=1 << 17, type=click.IntRange(1000), help="In a run.")
@click.option("--batch", default=1 << 15, type=click.IntRange(1000), help="In one operation.")
@click.option("--runs", default=3, type=click.IntRange(1, 100))
@click.option("--json", "as_json", is_flag=True, help="One object, last line.")
def engine_command(products: int, comparisons: int, batch: int, runs: int, as_json: bool) -> int:
    """Authenticated products and 64-bit comparisons a second on the SPDZ2k engine."""
    wanted = Sizes(products, comparisons, batch, runs)
    figures, result = engine(wanted, lambda text: click.echo(text, err=True))
    show(f"engine: {products:,} products, {comparisons:,} comparisons", figures, _CAPTION)
    if as_json:
        emit(result)
    return EXIT_UNEXPECTED if result["mismatches"] else EXIT_OK
