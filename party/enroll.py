"""From a photo to an entry of the watchlist. Needs the camera extra; a party without it runs."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import click

from shared import watchlist as watchlists
from shared.errors import FormatError, NoFace, RangeError
from shared.fixedpoint import check_entries, quantise
from shared.vision.detect import Detector, Faces, Float64Array
from shared.vision.embed import load_embedder
from shared.vision.images import Image, read_image
from shared.vision.models import DEFAULT_MODEL, MODELS, embedding_model
from shared.watchlist import Person

DEFAULT_WATCHLIST = Path("watchlist.jsonl")


def embed_photo(
    photo: Path, model_id: str, *, largest: bool = False, weights: Path | None = None
) -> Float64Array:
    """The embedding of the one face of a photo: float64 (d,).

    largest: take the largest face of several. weights: see `load_embedder`.
    Raises NoFace for none, or several without largest; InputError for an unreadable photo or
    without the camera extra; ModelMismatch, WeightsMissing; RangeError when the embedding is
    beyond what the model's entries may be.
    """
    image = read_image(photo)
    faces = _one_face(photo, image, largest)
    embedding: Float64Array = load_embedder(model_id, weights).embed(image, faces)[0]
    params = embedding_model(model_id).parameters(places=1)
    try:
        check_entries(quantise(embedding[None], params.fraction_bits), params)
    except RangeError as error:
        raise RangeError(f"{photo}: the embedding is out of the model's range ({error})") from None
    return embedding


def enroll(
    photo: Path,
    name: str,
    watchlist: Path,
    *,
    model_id: str | None = None,
    largest: bool = False,
    weights: Path | None = None,
) -> int:
    """Append the face of a photo to a watchlist file under a name; how many entries it has now.

    model_id: by default the file's, and for a new file the default model.
    Raises what `embed_photo` and `watchlist.append` raise; then the file is as it was.
    """
    clean = unicodedata.normalize("NFC", name)
    watchlists.check_name(clean)
    if watchlist.exists():
        existing = watchlists.load(watchlist)
        model_id = model_id or existing.model
        watchlists.check_model(existing, model_id)
        if any(person.name == clean for person in existing.people):
            raise FormatError(f"entry {clean!r}: the name is there already")
    chosen = model_id or DEFAULT_MODEL
    embedding = embed_photo(photo, chosen, largest=largest, weights=weights)
    return len(watchlists.append(watchlist, Person.of(name, embedding), chosen).people)


@click.command("enroll")
@click.argument("photo", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Who it is; shown when the face is matched.")
@click.option(
    "--watchlist",
    type=click.Path(path_type=Path),
    default=DEFAULT_WATCHLIST,
    show_default=True,
    help="The file to append to; made if it is not there.",
)
@click.option(
    "--model",
    "model_id",
    type=click.Choice(sorted(MODELS)),
    help=f"Embedding model; by default the file's, for a new file {DEFAULT_MODEL}.",
)
@click.option("--largest", is_flag=True, help="Of several faces take the largest.")
@click.option(
    "--weights", type=click.Path(path_type=Path), help="Where the weights of FaceNet are."
)
def enroll_command(
    photo: Path,
    name: str,
    watchlist: Path,
    model_id: str | None,
    largest: bool,
    weights: Path | None,
) -> None:
    """Add the face in PHOTO to a watchlist.

    The other party needs the same line in its file: an entry is live when both have it.
    """
    count = enroll(photo, name, watchlist, model_id=model_id, largest=largest, weights=weights)
    entries = "1 entry" if count == 1 else f"{count} entries"
    click.echo(f"enrolled {name!r}: {watchlist} has {entries} now")


def _one_face(photo: Path, image: Image, largest: bool) -> Faces:
    faces = Detector().detect(image)
    if not len(faces):
        raise NoFace(f"{photo}: found no face, expected one")
    if len(faces) > 1 and not largest:
        raise NoFace(f"{photo}: found {len(faces)} faces, expected one (or --largest)")
    return faces.first(1)
