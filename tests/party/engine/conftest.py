"""One dealer and two parties for all tests of the engine."""

from __future__ import annotations

import pytest

from tests.engine_support import Stage, make_stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A stage on which each test mints sessions of its own."""
    return make_stage(tmp_path_factory.mktemp("engine"))
