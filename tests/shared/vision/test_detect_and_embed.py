"""Real faces in real pictures: found, and nearer to their own person than to anybody else."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from shared.errors import InputError, ModelMismatch
from shared.vision.detect import Detector, Faces
from shared.vision.embed import DlibResnet, embed_inception, load_embedder, load_inception
from shared.vision.images import Image, read_image
from shared.vision.weights import WeightsFile
from tests.vision_support import MISSING, NEEDS_PHOTOS, NEEDS_VISION, PHOTOS

if not MISSING:
    from skimage import data

pytestmark = NEEDS_VISION


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def dlib_resnet() -> DlibResnet:
    return DlibResnet()


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return np.asarray(data.astronaut(), dtype=np.uint8)


def test_the_one_face_of_a_portrait_is_found_where_it_is(
    detector: Detector, astronaut: Image
) -> None:
    faces = detector.detect(astronaut)
    assert len(faces) == 1
    assert faces.probabilities[0] > 0.999
    assert np.abs(faces.boxes[0] - [180, 61, 268, 172]).max() < 4
    eyes = faces.landmarks[0, :2]
    assert (eyes[:, 1] < faces.landmarks[0, 2, 1]).all(), "eyes are above the nose"


def test_a_picture_without_a_face_has_none(detector: Detector) -> None:
    assert len(detector.detect(np.full((100, 100, 3), 90, dtype=np.uint8))) == 0
    assert len(detector.detect(np.zeros((3, 900, 3), dtype=np.uint8))) == 0


def test_a_grey_array_is_refused(detector: Detector) -> None:
    with pytest.raises(InputError, match="expected uint8"):
        detector.detect(np.zeros((50, 50), dtype=np.uint8))


def test_a_failing_detector_is_a_typed_error(
    detector: Detector, astronaut: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("torch.cat(): expected a non-empty list of Tensors")

    monkeypatch.setattr(detector._mtcnn, "detect", fail)
    with pytest.raises(InputError, match="face detector failed"):
        detector.detect(astronaut)


@pytest.mark.parametrize(("min_face", "probability"), [(11, 0.9), (40, 1.1), (40, -0.1)])
def test_impossible_settings_are_refused(min_face: int, probability: float) -> None:
    with pytest.raises(InputError):
        Detector(min_face, probability)


def test_a_mirrored_darkened_and_smaller_face_stays_near(
    detector: Detector, dlib_resnet: DlibResnet, astronaut: Image
) -> None:
    original = dlib_resnet.embed(astronaut, detector.detect(astronaut))[0]
    assert original.shape == (128,)
    changed = np.ascontiguousarray(astronaut[:320:2, 380:60:-2] // 2)
    found = dlib_resnet.embed(changed, detector.detect(changed))
    assert found.shape == (1, 128)
    assert ((found[0] - original) ** 2).sum() < 0.15


def test_faces_keep_their_order(
    detector: Detector, dlib_resnet: DlibResnet, astronaut: Image
) -> None:
    small = astronaut[::2, ::2]
    both = np.zeros((512, 800, 3), dtype=np.uint8)
    both[:, :512] = astronaut
    both[:256, 544:] = small
    faces = detector.detect(both)
    assert len(faces) == 2
    assert faces.boxes[0, 0] < faces.boxes[1, 0], "the larger one is first"
    together = dlib_resnet.embed(both, faces)
    alone = dlib_resnet.embed(both, faces.first(1))
    assert np.allclose(together[0], alone[0], atol=1e-5)
    assert ((together[0] - together[1]) ** 2).sum() > 1e-4


def test_no_faces_give_no_embeddings(dlib_resnet: DlibResnet, astronaut: Image) -> None:
    nobody = Faces(np.empty((0, 4)), np.empty(0), np.empty((0, 5, 2)))
    assert dlib_resnet.embed(astronaut, nobody).shape == (0, 128)


def test_an_unknown_embedder_is_refused() -> None:
    with pytest.raises(ModelMismatch):
        load_embedder("eigenfaces")
    assert load_embedder("dlib-resnet-v1").model.dim == 128


def test_facenet_gives_unit_vectors_of_512_coordinates(tmp_path: Path, astronaut: Image) -> None:
    """The real network and loading, with a stand-in for the published weights."""
    import torch

    from shared.vision.facenet import facenet_pytorch

    torch.manual_seed(0)
    written = io.BytesIO()
    state = facenet_pytorch().InceptionResnetV1(pretrained=None).state_dict()
    state["logits.weight"] = torch.zeros(8631, 512)
    torch.save(state, written)
    path = tmp_path / "stand-in.pt"
    path.write_bytes(written.getvalue())
    known = WeightsFile(path.name, hashlib.sha256(written.getvalue()).hexdigest())
    network = load_inception(path, known)
    boxes = np.array([[180.0, 60, 268, 172], [-20, -20, 30, 30], [500, 500, 600, 600]])
    faces = Faces(boxes, np.ones(3), np.zeros((3, 5, 2)))
    found = embed_inception(network, astronaut, faces)
    assert found.shape == (3, 512)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert ((found[0] - found[1]) ** 2).sum() > 1e-6


class TestPhotos:
    pytestmark = NEEDS_PHOTOS

    @pytest.mark.parametrize(
        ("name", "count"),
        [
            ("nobody", 0),
            ("person_b_1", 1),
            ("person_c_1", 1),
            ("person_d_1", 1),
            ("three_people", 3),
            ("four_people", 4),
            ("six_people", 6),
        ],
    )
    def test_every_face_is_found(self, name: str, count: int, detector: Detector) -> None:
        assert len(detector.detect(read_image(PHOTOS / f"{name}.jpg"))) == count

    def test_two_photos_of_one_person_are_near_and_others_far(
        self, detector: Detector, dlib_resnet: DlibResnet
    ) -> None:
        embeddings = {}
        for name in ("person_b_1", "person_b_2", "person_c_1", "person_d_1"):
            image = read_image(PHOTOS / f"{name}.jpg")
            embeddings[name] = dlib_resnet.embed(image, detector.detect(image))[0]
        one, same, *others = embeddings.values()
        threshold = dlib_resnet.model.threshold
        assert ((one - same) ** 2).sum() < threshold / 2
        assert all(((one - other) ** 2).sum() > threshold for other in others)
        norms = [float(np.linalg.norm(e)) for e in embeddings.values()]
        assert max(norms) <= dlib_resnet.model.entry_norm
