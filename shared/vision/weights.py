"""Model files on disk: where they are, and that they are the known ones, before they are parsed."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from shared.errors import WeightsMissing


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One published file: its name and the SHA-256 of its content, in hex."""

    name: str
    sha256: str


DLIB_RESNET = WeightsFile(
    "dlib_face_recognition_resnet_model_v1.dat",
    "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
)
DLIB_LANDMARKS = WeightsFile(
    "shape_predictor_5_face_landmarks.dat",
    "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
)
FACENET_VGGFACE2 = WeightsFile(
    "20180402-114759-vggface2.pt",
    "281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
)


def dlib_folder() -> Path:
    """The folder of dlib's model files inside the package face_recognition_models.

    That package is located and not imported: its import wants the retired pkg_resources.
    Raises WeightsMissing when it is not installed.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsMissing(
            "face_recognition_models is not installed: pictures need the camera extra, "
            "pip install 'twokey[camera]'"
        )
    return Path(next(iter(spec.submodule_search_locations))) / "models"


def torch_checkpoints() -> Path:
    """The folder in which torch keeps checkpoints: $TORCH_HOME or the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or os.path.join(cache, "torch")
    return Path(home).expanduser() / "checkpoints"


def read_verified(path: Path, expected: WeightsFile, remedy: str) -> bytes:
    """Read a weights file and check its SHA-256: what is returned is what was checked.

    remedy: what the error tells the user to do. Raises WeightsMissing when the file is missing,
    unreadable, or another one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or "not readable"
        raise WeightsMissing(f"weights {path}: {reason}; {remedy}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != expected.sha256:
        raise WeightsMissing(
            f"weights {path}: found SHA-256 {found}, expected {expected.sha256}; {remedy}"
        )
    return content
