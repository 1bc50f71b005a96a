"""The command line of the dealer: `twokey-dealer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from dealer.config import CONFIG_FILE, DealerConfig
from dealer.engine_command import engine_command
from dealer.order import read_order
from dealer.private_command import private_command
from shared import cli, config
from shared.cores import cores
from shared.errors import ConfigError
from shared.keys import load_public_identity
from shared.materialheader import ChunkKind, Header, SignedHeader, read_header
from shared.rolecommands import (
    EXISTING_PATH,
    config_option,
    identity_command,
    show_identity,
    trust_command,
)
from shared.roles import RoleFolder, init_role
from shared.windowkeys import time_text

if TYPE_CHECKING:
    from dealer.job import Minted, MintJob, Plan

program = cli.program(
    "twokey-dealer",
    "Mints the correlated randomness of a window; offline while the window runs.",
)
program.add_command(trust_command(CONFIG_FILE))
program.add_command(identity_command(("dealer",), CONFIG_FILE))
program.add_command(engine_command)
program.add_command(private_command)


@program.command()
@click.argument("folder", type=EXISTING_PATH)
@click.option("--name", default="dealer", show_default=True, help="The dealer's name.")
def init(folder: Path, name: str) -> None:
    """Make keys and a commented configuration file in FOLDER."""
    path = folder / CONFIG_FILE
    if path.exists():
        raise ConfigError(f"configuration file {path}: exists already, and is left as it is")
    _, identity, public = init_role(folder, "dealer", name)
    config.write_default(DealerConfig, path)
    show_identity(identity.public)
    click.echo(f"configuration {path}", err=True)
    click.echo(f"hand to parties and cameras: {public}", err=True)


@program.command()
@config_option(CONFIG_FILE)
@click.option("--window", "window_id", required=True, help="Id of the window.")
@click.option("--out", type=EXISTING_PATH, help="Folder for the material, instead of `out`.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads, instead of `workers`.")
@click.option("--replace", is_flag=True, help="Replace complete sets of another order.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def mint(
    config_path: Path,
    window_id: str,
    out: Path | None,
    workers: int | None,
    replace: bool,
    dry_run: bool,
) -> None:
    """Mint one window's files for all cameras; complete ones that are there are kept."""
    from dealer.estimate import disk_bytes_per_second, slots_per_second  # compiled kernels
    from dealer.job import MintJob

    settings = config.load(DealerConfig, config_path)
    folder = RoleFolder(config_path.parent)
    dealer = folder.identity("dealer")
    params = settings.parameters.parameters()
    order = read_order(
        params,
        window_id,
        [(camera.name, camera.slots) for camera in settings.cameras],
        folder.trusted(),
        settings.window_keys,
    )
    threads = workers or settings.workers or cores()
    console = Console(stderr=True)
    with MintJob(order, dealer, out or settings.out) as job:
        plan = job.plan(replace=replace)
        _show_plan(console, plan, window_id)
        plan.check_space()
        if plan.slots:
            minting = plan.slots / slots_per_second(params) / min(threads, cores())
            writing = plan.bytes_needed / disk_bytes_per_second(job.folder)
            _show_time(console, minting, writing, threads)
        if dry_run:
            return
        done = _mint(console, job, plan, threads)
    click.echo(
        f"{done.sets} sets of {done.slots} slots minted in {done.seconds:.1f} s, "
        f"{len(plan.keep)} kept: {(out or settings.out) / window_id}"
    )


@program.command()
@click.argument("file", type=EXISTING_PATH)
@click.option(
    "--dealer",
    "dealer_file",
    type=EXISTING_PATH,
    help="The dealer's public file; the signature is verified with it.",
)
def inspect(file: Path, dealer_file: Path | None) -> None:
    """Print the header of any material file; no key is needed."""
    signed = read_header(file)
    if dealer_file is not None:
        signed.verify(load_public_identity(dealer_file, "dealer"), f"material file {file}")
    _show_header(signed, verified=dealer_file is not None)


def main() -> None:
    """The entry point of `twokey-dealer`."""
    cli.run(program)


def _show_plan(console: Console, plan: Plan, window: str) -> None:
    console.print(
        f"window {window}: {len(plan.mint)} sets to mint ({plan.slots} slots), "
        f"{len(plan.keep)} complete; needs {_size(plan.bytes_needed)} of disk, "
        f"{_size(plan.bytes_free)} are free",
        highlight=False,
        soft_wrap=True,
    )


def _show_time(console: Console, minting: float, writing: float, threads: int) -> None:
    console.print(
        f"about {_duration(minting + writing)}: {_duration(minting)} to mint on {threads} threads, "
        f"{_duration(writing)} to write",
        highlight=False,
        soft_wrap=True,
    )


def _mint(console: Console, job: MintJob, plan: Plan, threads: int) -> Minted:
    columns = (
        TextColumn("minting"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("slots"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("minting", total=plan.slots)
        return job.mint(plan, workers=threads, progress=lambda slots: bar.advance(task, slots))


def _show_header(signed: SignedHeader, *, verified: bool) -> None:
    header = signed.header
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "window": header.window.id,
        "start": time_text(header.window.start_ms),
        "end": time_text(header.window.end_ms),
        "camera": header.camera,
        "recipient": header.recipient,
        "mint id": header.mint_id.hex(),
        "slots": str(header.slots),
        **_chunk_rows(header),
        "file size": f"{signed.file_bytes:,} bytes",
        "window key": header.window_key.hex(),
        "dealer": header.dealer[:20].hex(" ", 2),
        "signature": "verified" if verified else "not verified (no --dealer given)",
        "parameters": header.params_digest.hex(),
        **{f"  {name}": str(value) for name, value in header.params.to_map().items()},
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console(soft_wrap=True, highlight=False, markup=False).print(table)


def _chunk_rows(header: Header) -> dict[str, str]:
    return {
        f"{kind.name.lower()} chunks": f"{count} of {header.chunk_slots(kind)} slots"
        for kind in ChunkKind
        if (count := header.chunks(kind))
    }


def _size(count: int) -> str:
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
