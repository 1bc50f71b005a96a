"""The registry of embedding models."""

from __future__ import annotations

import math

import pytest

from shared.errors import ModelMismatch
from shared.vision.models import DEFAULT_MODEL, MODELS, EmbeddingModel, embedding_model


@pytest.mark.parametrize("model", MODELS.values(), ids=lambda m: m.id)
def test_the_bounds_of_a_model_make_parameters_with_room_for_dummies(model: EmbeddingModel) -> None:
    params = model.parameters(places=150)
    assert (params.model, params.dim, params.places) == (model.id, model.dim, 150)
    assert params.entry_bound + math.sqrt(params.threshold) <= params.face_bound


def test_a_threshold_of_ones_own_replaces_the_models() -> None:
    params = embedding_model(DEFAULT_MODEL).parameters(places=1, threshold=0.25)
    assert params.threshold == 0.25 * 4096**2


def test_an_unknown_model_is_refused_by_name() -> None:
    with pytest.raises(ModelMismatch, match="'eigenfaces' is unknown, expected one of: dlib-res"):
        embedding_model("eigenfaces")
