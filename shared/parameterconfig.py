"""The section of a configuration file that says the public parameters (protocol section 2)."""

from __future__ import annotations

from pydantic import Field

from shared.config import Config
from shared.params import Parameters, for_bounds


class ParameterConfig(Config):
    """Public parameters of a window. Dealer, parties and cameras must agree on every one."""

    model: str = Field(
        default="dlib-resnet-v1", description="Id of the embedding model. Text, 1 to 64 characters."
    )
    dim: int = Field(default=128, description="Coordinates of an embedding of this model.")
    places: int = Field(
        default=150,
        description="Entry places N: how many watchlist entries a window has room for, those\n"
        "included that are added while it runs. Material grows with it.",
    )
    threshold: float = Field(
        default=0.36, description="A match is a squared distance below this threshold."
    )
    face_norm: float = Field(
        default=2.30, description="Largest Euclidean norm of a face's embedding (dummies included)."
    )
    entry_norm: float = Field(
        default=1.69, description="Largest Euclidean norm of a watchlist entry's embedding."
    )
    fraction_bits: int = Field(
        default=12, description="Fractional bits of the fixed point, 1 to 15."
    )
    headroom_bits: int = Field(
        default=5,
        description="Bits above 2 fraction_bits; face_norm plus entry_norm must stay below\n"
        "2^((headroom_bits - 1) / 2).",
    )

    def parameters(self) -> Parameters:
        """The checked parameters. Raises RangeError."""
        return for_bounds(
            dim=self.dim,
            places=self.places,
            threshold=self.threshold,
            face_norm=self.face_norm,
            entry_norm=self.entry_norm,
            model=self.model,
            fraction_bits=self.fraction_bits,
            headroom_bits=self.headroom_bits,
        )
