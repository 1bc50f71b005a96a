"""A session of private matching for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.private_support import PrivateStage, make_private_stage


@pytest.fixture
def stage(tmp_path: Path) -> PrivateStage:
    """Everybody who takes part, and one session."""
    return make_private_stage(tmp_path)
