"""The dealer's configuration file, `dealer.toml`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared.config import Config
from shared.parameterconfig import ParameterConfig

CONFIG_FILE = "dealer.toml"


class CameraEntry(Config):
    """One camera and its capacity."""

    name: str = Field(description="Name of the camera, as in its identity.")
    slots: int = Field(description="Faces that a window has room for; each is one face slot.")


class DealerConfig(Config):
    """What the dealer mints. Keys and trusted identities lie beside the file."""

    window_keys: Path = Field(
        default=Path("window-keys"),
        description="Folder of the window keys that parties and cameras have published.",
    )
    out: Path = Field(
        default=Path("material"),
        description="Folder for the material: <out>/<window>/{p0,p1,camera}/<camera>.tkm.",
    )
    workers: int = Field(
        default=0, ge=0, le=1024, description="Threads that mint; 0 for one on each core."
    )
    cameras: list[CameraEntry] = Field(
        default=[],
        description="The cameras, and for how many faces each may need slots in one window:\n"
        '[{name = "north-door", slots = 20000}, {name = "south-door", slots = 5000}]',
    )
    parameters: ParameterConfig = Field(default=ParameterConfig())
