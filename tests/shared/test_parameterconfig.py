from __future__ import annotations

from pathlib import Path

import pytest

from shared import config
from shared.errors import ConfigError, RangeError
from shared.parameterconfig import ParameterConfig
from shared.params import for_bounds


def test_the_defaults_are_those_of_the_embedded_model() -> None:
    assert ParameterConfig().parameters() == for_bounds(
        dim=128, places=150, threshold=0.36, face_norm=2.3, entry_norm=1.69, model="dlib-resnet-v1"
    )


def test_a_rendered_section_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    config.write_default(ParameterConfig, path, {"places": 7, "fraction_bits": 11})
    found = config.load(ParameterConfig, path).parameters()
    assert (found.places, found.fraction_bits, found.n) == (7, 11, 27)


def test_bounds_that_do_not_fit_are_refused_and_never_clipped() -> None:
    with pytest.raises(RangeError, match="not below"):
        ParameterConfig(face_norm=2.4).parameters()
    with pytest.raises(RangeError, match="places"):
        ParameterConfig(places=0).parameters()


def test_an_unknown_or_mistyped_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    for text in ("place = 3", 'places = "3"', "places = 3.5"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="place"):
            config.load(ParameterConfig, path)


def test_fractional_bits_out_of_range_are_refused_before_anything_is_scaled() -> None:
    for bits in (0, 16, 1 << 40):
        with pytest.raises(RangeError, match="fraction_bits"):
            ParameterConfig(fraction_bits=bits).parameters()
