"""The camera's configuration file, `camera.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.config import Config


class CameraConfig(Config):
    """A camera, in the folder that holds this file.

    Beside it lie `state/` (keys, ratchets, journal; no backup of it may ever be put back),
    `trusted/` (the identities of the dealer and of both parties) and `published/`.
    """

    p0_address: str = Field(
        default="tcp://127.0.0.1:7702", description="Where P0 listens for cameras."
    )
    p1_address: str = Field(
        default="tcp://127.0.0.1:7703", description="Where P1 listens for cameras."
    )
    material: Path = Field(
        default=Path("material"),
        description="Folder into which the dealer's files for this camera are put. A file is "
        "taken over once, then removed.",
    )
    model: Literal["dlib-resnet-v1", "facenet-vggface2"] = Field(
        default="dlib-resnet-v1", description="The embedding model; both parties use the same."
    )
    weights: Path | None = Field(
        default=None, description="facenet-vggface2: the weights file, where it is not in place."
    )
    min_face: int = Field(
        default=40, ge=20, le=2000, description="Smallest face that is looked for, in pixels."
    )
    probability: float = Field(
        default=0.95, gt=0, lt=1, description="Least probability of a detected face."
    )
    faces_per_message: int = Field(
        default=64, ge=1, le=256, description="Faces of a frame that travel together, at most."
    )
    resend_seconds: float = Field(
        default=2.0, gt=0, description="After so long without an outcome the same bytes go again."
    )
    queue_mib: int = Field(
        default=64, ge=1, description="Stored messages in MiB before frames have to wait."
    )
    drain_seconds: float = Field(
        default=30.0,
        ge=0,
        description="How long to wait for outstanding outcomes at the end of the source.",
    )
