"""`twokey-perf`: the whole system on given data, and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click
import numpy as np
import orjson

from perf.commands import COMMANDS
from perf.engine import engine_command
from shared.cli import program, run
from shared.errors import EXIT_OK, EXIT_UNEXPECTED, InputError

cli = program("twokey-perf", "Runs the whole system on given data and measures it.")


@cli.command("replay")
@click.option("--faces", required=True, type=click.Path(path_type=Path), help="F.npy, (F, d).")
@click.option("--watchlist", required=True, type=click.Path(path_type=Path), help="W.npy, (N, d).")
@click.option("--threshold", required=True, type=float, help="On the squared distance.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Bits, (F, N) bool.")
@click.option("--fraction-bits", default=12, show_default=True, type=click.IntRange(1, 15))
@click.option("--seed", type=int, help="Of the order in which faces are sent; default: as given.")
@click.option("--workdir", type=click.Path(path_type=Path), help="Kept; default: temporary.")
def replay_command(
    faces: Path,
    watchlist: Path,
    threshold: float,
    out: Path,
    fraction_bits: int,
    seed: int | None,
    workdir: Path | None,
) -> int:
    """Mint, prepare and match arrays; exit 1 if a bit differs from the plaintext's."""
    from perf.replay import load_arrays, replay

    x, c = load_arrays(faces, watchlist)
    if not out.parent.is_dir():
        raise InputError(f"{out}: its folder is not there")
    order = np.arange(len(x)) if seed is None else np.random.default_rng(seed).permutation(len(x))
    bits, report = replay(x[order], c, threshold, fraction_bits=fraction_bits, workdir=workdir)
    result = np.empty_like(bits)
    result[order] = bits
    with out.open("wb") as file:
        np.save(file, result, allow_pickle=False)
    click.echo(orjson.dumps(report).decode())
    return EXIT_UNEXPECTED if report["mismatches"] else EXIT_OK


for command in (*COMMANDS, engine_command):
    cli.add_command(command)


def main() -> NoReturn:
    """Entry point of `twokey-perf`."""
    run(cli, holds_secrets=False)
