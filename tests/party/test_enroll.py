"""Enrolment: a photo with exactly one face becomes one line, everything else none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from party.enroll import embed_photo, enroll, enroll_command
from shared import watchlist as watchlists
from shared.errors import FormatError, InputError, ModelMismatch, NoFace, RangeError, WeightsMissing
from shared.vision import extra
from shared.vision.images import Image
from shared.vision.models import embedding_model
from tests.vision_support import MISSING, NEEDS_PHOTOS, NEEDS_VISION, PHOTOS

if not MISSING:
    from skimage import data


def write(path: Path, image: Image) -> Path:
    extra.opencv().imwrite(str(path), image[..., ::-1])
    return path


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("enroll") / "portrait.png", data.astronaut())


def test_a_bad_name_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="name"):
        enroll(tmp_path / "gone.png", " ", tmp_path / "w.jsonl")


def test_a_missing_photo_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png: No such file"):
        enroll(tmp_path / "gone.png", "A", tmp_path / "w.jsonl")
    assert list(tmp_path.iterdir()) == []


class TestWithPictures:
    pytestmark = NEEDS_VISION

    def test_the_command_appends_to_both_parties_files_the_same_entry(
        self, portrait: Path, tmp_path: Path
    ) -> None:
        files = [tmp_path / "p0.jsonl", tmp_path / "p1.jsonl"]
        for file in files:
            arguments = [str(portrait), "--name", "Commander", "--watchlist", str(file)]
            done = CliRunner().invoke(enroll_command, arguments, catch_exceptions=False)
            assert done.output == f"enrolled 'Commander': {file} has 1 entry now\n"
        params = embedding_model("dlib-resnet-v1").parameters(places=5)
        ours, theirs = (watchlists.load(file).entries(params)[0] for file in files)
        assert ours.digest == theirs.digest
        assert ours.coordinates.any()

    def test_a_name_that_is_there_is_refused_and_nothing_changes(
        self, portrait: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "w.jsonl"
        assert enroll(portrait, "A", file) == 1
        before = file.read_bytes()
        with pytest.raises(FormatError, match="'A': the name is there already"):
            enroll(portrait, "A", file)
        with pytest.raises(FormatError, match="has the embedding of 'A'"):
            enroll(portrait, "B", file)
        assert file.read_bytes() == before

    def test_a_list_of_another_model_is_not_appended_to(
        self, portrait: Path, tmp_path: Path
    ) -> None:
        file = tmp_path / "w.jsonl"
        watchlists.save(file, watchlists.Watchlist("facenet-vggface2", 512))
        with pytest.raises(ModelMismatch):
            enroll(portrait, "A", file, model_id="dlib-resnet-v1")
        with pytest.raises(WeightsMissing):
            enroll(portrait, "A", file, weights=tmp_path / "gone.pt")

    def test_a_picture_without_a_face_is_refused(self, tmp_path: Path) -> None:
        empty = write(tmp_path / "empty.png", np.full((200, 200, 3), 120, dtype=np.uint8))
        with pytest.raises(NoFace, match=r"empty\.png: found no face"):
            enroll(empty, "A", tmp_path / "w.jsonl")
        assert not (tmp_path / "w.jsonl").exists()

    def test_of_two_faces_the_largest_is_taken_only_when_told(
        self, portrait: Path, tmp_path: Path
    ) -> None:
        face = data.astronaut()[:320, 60:380]
        pair = np.zeros((320, 480, 3), dtype=np.uint8)
        pair[:, :320], pair[:160, 320:] = face, face[::2, ::2] // 2
        photo = write(tmp_path / "pair.png", pair)
        with pytest.raises(NoFace, match="found 2 faces"):
            embed_photo(photo, "dlib-resnet-v1")
        found = embed_photo(photo, "dlib-resnet-v1", largest=True)
        assert ((found - embed_photo(portrait, "dlib-resnet-v1")) ** 2).sum() < 0.02

    def test_an_embedding_beyond_the_models_range_is_refused(
        self, portrait: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        narrow = replace(embedding_model("dlib-resnet-v1"), entry_norm=1.0)
        monkeypatch.setattr("party.enroll.embedding_model", lambda _: narrow)
        with pytest.raises(RangeError, match=r"portrait\.png: the embedding is out of"):
            embed_photo(portrait, "dlib-resnet-v1")


class TestWithPhotos:
    pytestmark = NEEDS_PHOTOS

    def test_a_group_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(NoFace, match="found 3 faces"):
            enroll(PHOTOS / "three_people.jpg", "A", tmp_path / "w.jsonl")
