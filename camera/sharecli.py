"""`twokey-camera share-entries` and `share-faces`: what private matching is given."""

from __future__ import annotations

from pathlib import Path

import click

from camera.sourcecli import load_vision, source_options, start_time
from shared import config
from shared.rolecommands import EXISTING_PATH, config_option
from shared.roles import RoleFolder

CONFIG_FILE = "camera.toml"

_masks = click.option(
    "--masks", type=EXISTING_PATH, required=True, help="The dealer's file of the session (.tke)."
)
_out = click.option("--out", type=EXISTING_PATH, help="Folder for the masked file [published].")


@click.command("share-entries")
@config_option(CONFIG_FILE)
@_masks
@_out
@click.argument("watchlist", type=EXISTING_PATH)
def share_entries(config_path: Path, masks: Path, out: Path | None, watchlist: Path) -> None:
    """Mask the entries of WATCHLIST, of an authority, for both parties: none of them sees one.

    Names are shown to the parties; take aliases. The entries of a session are shared once.
    """
    from camera.share import Sharer

    folder = config_path.parent
    with Sharer(folder, masks, "authority") as sharer:
        path = sharer.entries(watchlist, out or RoleFolder(folder).published)
    click.echo(f"masked entries: {path}; hand it to both parties")


@click.command("share-faces")
@config_option(CONFIG_FILE)
@_masks
@_out
@source_options
@click.argument("source", type=EXISTING_PATH)
def share_faces(
    config_path: Path,
    masks: Path,
    out: Path | None,
    interval_ms: int,
    start: str | None,
    source: Path,
) -> None:
    """Mask the faces of SOURCE: an image, a folder of them, a video, or embeddings (.npy)."""
    from camera.config import CameraConfig
    from camera.share import Sharer, embedded

    settings = config.load(CameraConfig, config_path)
    start_ms = start_time(start)
    folder = config_path.parent
    with Sharer(folder, masks, "camera") as sharer:
        if source.suffix.lower() == ".npy":
            captured = [embedded(source, sharer.params, start_ms)]
        else:
            from camera.pipeline import Pipeline
            from camera.source import frames

            pictures = frames(source, start_ms, interval_ms)
            pipeline = Pipeline(*load_vision(settings), sharer.params)
            captured = [pipeline.process(frame) for frame in pictures]
        path = sharer.faces(captured, out or RoleFolder(folder).published)
    faces = sum(len(one.faces) for one in captured)
    dropped = sum(len(one.dropped) for one in captured)
    told = f"faces: {faces}, out of range: {dropped}"
    click.echo(f"{told}; masked faces: {path}; hand it to both parties" if path else told)
