"""docs/configuration.md says what the models say."""

from __future__ import annotations

from tests.configuration_page import PAGE, content


def test_the_page_is_what_the_models_render_to() -> None:
    assert PAGE.read_text(encoding="utf-8") == content(), (
        "make it anew: python -m tests.configuration_page"
    )
