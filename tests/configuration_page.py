"""Writes docs/configuration.md from the models: `python -m tests.configuration_page`."""

from __future__ import annotations

from pathlib import Path

from camera.config import CameraConfig
from dealer.config import DealerConfig
from party.config import PartyConfig
from shared.config_reference import render_reference

PAGE = Path(__file__).resolve().parent.parent / "docs" / "configuration.md"


def content() -> str:
    """The whole page."""
    return render_reference(
        {"dealer.toml": DealerConfig, "party.toml": PartyConfig, "camera.toml": CameraConfig}
    )


if __name__ == "__main__":
    PAGE.write_text(content(), encoding="utf-8")
