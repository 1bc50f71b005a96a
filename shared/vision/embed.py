"""Faces to embeddings: dlib's ResNet and FaceNet's Inception-ResNet, one interface."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from shared.vision import extra, weights
from shared.vision.detect import Faces, Float64Array
from shared.vision.facenet import facenet_pytorch
from shared.vision.images import Image, check_image
from shared.vision.models import MODELS, EmbeddingModel, embedding_model
from shared.vision.weights import WeightsFile, read_verified

FACENET_SIDE = 160  # pixels of the square that FaceNet was trained on


class Embedder(Protocol):
    """A loaded embedding model."""

    @property
    def model(self) -> EmbeddingModel:
        """What is public about it."""

    def embed(self, image: Image, faces: Faces) -> Float64Array:
        """One embedding a face: float64 (k, model.dim), in the order of faces."""


def load_embedder(model_id: str, weights_path: Path | None = None) -> Embedder:
    """Load a model by its id.

    weights_path: where FaceNet's weights are, if not in torch's checkpoint folder.
    Raises ModelMismatch for an unknown id, WeightsMissing, InputError without the camera extra.
    """
    if embedding_model(model_id).id == DlibResnet.MODEL.id:
        return DlibResnet()
    return FacenetVggface2(weights_path)


class DlibResnet:
    """dlib's ResNet (King 2017), 128-d, norms 1.4 to 1.6, on dlib's own five landmarks.

    Its weights come with the package face_recognition_models. Raises WeightsMissing, InputError.
    """

    MODEL = MODELS["dlib-resnet-v1"]

    def __init__(self) -> None:
        dlib = extra.load("dlib")
        folder = weights.dlib_folder()
        for file in (weights.DLIB_RESNET, weights.DLIB_LANDMARKS):
            read_verified(folder / file.name, file, "reinstall face_recognition_models 0.3.0")
        self._dlib = dlib
        self._landmarks = dlib.shape_predictor(str(folder / weights.DLIB_LANDMARKS.name))
        self._resnet = dlib.face_recognition_model_v1(str(folder / weights.DLIB_RESNET.name))

    @property
    def model(self) -> EmbeddingModel:
        """What is public about it."""
        return self.MODEL

    def embed(self, image: Image, faces: Faces) -> Float64Array:
        """One embedding a face: float64 (k, 128)."""
        check_image(image)
        if not len(faces):
            return np.empty((0, self.MODEL.dim))
        picture = np.ascontiguousarray(image)
        found = self._dlib.full_object_detections()
        for x1, y1, x2, y2 in np.rint(faces.boxes).astype(int).tolist():
            found.append(self._landmarks(picture, self._dlib.rectangle(x1, y1, x2, y2)))
        return np.asarray(self._resnet.compute_face_descriptor(picture, found), dtype=np.float64)


class FacenetVggface2:
    """FaceNet's Inception-ResNet v1 trained on VGGFace2, 512-d unit vectors, on MTCNN's box.

    weights_path: the published file, which is never downloaded; by default in torch's checkpoint
    folder. Raises WeightsMissing when it is not there or not the known one.
    """

    MODEL = MODELS["facenet-vggface2"]

    def __init__(self, weights_path: Path | None = None) -> None:
        file = weights.FACENET_VGGFACE2
        self._network = load_inception(
            weights_path or weights.torch_checkpoints() / file.name, file
        )

    @property
    def model(self) -> EmbeddingModel:
        """What is public about it."""
        return self.MODEL

    def embed(self, image: Image, faces: Faces) -> Float64Array:
        """One embedding a face: float64 (k, 512)."""
        check_image(image)
        return embed_inception(self._network, image, faces)


def load_inception(path: Path, expected: WeightsFile) -> Any:
    """The network with the weights of a verified file. Raises WeightsMissing, InputError."""
    content = read_verified(
        path,
        expected,
        f"put the file {expected.name} of the facenet-pytorch 2.2.9 release there "
        "or name its place in the configuration",
    )
    torch, facenet = extra.load("torch"), facenet_pytorch()
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    # The classifier over VGGFace2's own people is not part of the embedding.
    kept = {name: value for name, value in state.items() if not name.startswith("logits.")}
    network = facenet.InceptionResnetV1(pretrained=None)
    network.load_state_dict(kept)
    return network.eval()


def embed_inception(network: Any, image: Image, faces: Faces) -> Float64Array:
    """Crop, scale and embed: float64 (k, 512), unit vectors."""
    if not len(faces):
        return np.empty((0, FacenetVggface2.MODEL.dim))
    torch, cv2 = extra.load("torch"), extra.opencv()
    crops = np.empty((len(faces), FACENET_SIDE, FACENET_SIDE, 3), dtype=np.float32)
    for index, box in enumerate(faces.boxes):
        crop = image[_rows_and_columns(box, image.shape[0], image.shape[1])]
        side = (FACENET_SIDE, FACENET_SIDE)
        crops[index] = cv2.resize(crop, side, interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy((crops.transpose(0, 3, 1, 2) - 127.5) / 128.0)
    with torch.inference_mode():
        return np.asarray(network(batch).numpy(), dtype=np.float64)


def _rows_and_columns(box: Float64Array, height: int, width: int) -> tuple[slice, slice]:
    # At least one pixel, whatever the box.
    x1, y1 = (
        int(min(max(v, 0.0), side - 1)) for v, side in zip(box, (width, height), strict=False)
    )
    x2, y2 = int(min(box[2], width)), int(min(box[3], height))
    return slice(y1, max(y2, y1 + 1)), slice(x1, max(x2, x1 + 1))
