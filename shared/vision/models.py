"""The known embedding models: what is public about each, without loading any.

Both models put two faces of one person nearer to each other than faces of two people, by the
squared Euclidean distance.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ModelMismatch
from shared.params import Parameters, for_bounds

DEFAULT_MODEL = "dlib-resnet-v1"


@dataclass(frozen=True, slots=True)
class EmbeddingModel:
    """Public facts of a model and the bounds that fit it (protocol section 2).

    id: its name in parameters and watchlists. dim: coordinates. face_norm, entry_norm: bounds on
    the Euclidean norms, with room for dummy faces out of every entry's reach
    (entry_norm + sqrt(threshold) <= face_norm). threshold: on the squared distance.
    """

    id: str
    dim: int
    face_norm: float
    entry_norm: float
    threshold: float

    def parameters(self, places: int, threshold: float | None = None) -> Parameters:
        """Parameters for this model, with its own threshold unless another is given."""
        return for_bounds(
            dim=self.dim,
            places=places,
            threshold=self.threshold if threshold is None else threshold,
            face_norm=self.face_norm,
            entry_norm=self.entry_norm,
            model=self.id,
        )


MODELS = {
    model.id: model
    for model in (
        EmbeddingModel("dlib-resnet-v1", 128, face_norm=2.30, entry_norm=1.69, threshold=0.36),
        # Unit vectors; the slack is for rounding.
        EmbeddingModel("facenet-vggface2", 512, face_norm=2.30, entry_norm=1.01, threshold=1.0),
    )
}


def embedding_model(model_id: str) -> EmbeddingModel:
    """The model of that id. Raises ModelMismatch for an unknown one."""
    try:
        return MODELS[model_id]
    except KeyError:
        known = ", ".join(sorted(MODELS))
        raise ModelMismatch(f"model {model_id!r} is unknown, expected one of: {known}") from None
