"""Weights are the known ones or nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from shared.errors import WeightsMissing
from shared.vision import weights
from shared.vision.embed import FacenetVggface2
from shared.vision.weights import WeightsFile, read_verified


def test_the_known_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"weights")
    known = WeightsFile("w.pt", hashlib.sha256(b"weights").hexdigest())
    assert read_verified(path, known, "do this") == b"weights"


def test_one_flipped_bit_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(b"weightr")
    known = WeightsFile("w.pt", hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(WeightsMissing, match=r"expected .* do this"):
        read_verified(path, known, "do this")


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing, match="Is a directory"):
        read_verified(tmp_path, weights.FACENET_VGGFACE2, "do this")


def test_facenet_without_its_file_says_where_to_put_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsMissing) as caught:
        FacenetVggface2()
    message = str(caught.value)
    assert str(tmp_path / "checkpoints" / "20180402-114759-vggface2.pt") in message
    assert "put the file 20180402-114759-vggface2.pt" in message
    assert "\n" not in message


def test_facenet_refuses_another_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    path.write_bytes(b"random weights")
    with pytest.raises(WeightsMissing, match="SHA-256"):
        FacenetVggface2(path)


def test_the_checkpoint_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert weights.torch_checkpoints() == Path("/somewhere/cache/torch/checkpoints")
    monkeypatch.setenv("TORCH_HOME", "/elsewhere")
    assert weights.torch_checkpoints() == Path("/elsewhere/checkpoints")
