"""Which windows a party opens."""

from __future__ import annotations

import pytest

from party.windows import check_threshold
from shared.errors import HeaderMismatch
from shared.params import for_bounds

PARAMS = for_bounds(
    dim=128, places=4, threshold=0.36, face_norm=2.3, entry_norm=1.69, model="model"
)


@pytest.mark.parametrize("agreed", [None, 0.36])
def test_a_window_of_the_agreed_threshold_is_opened(agreed: float | None) -> None:
    check_threshold(agreed, PARAMS)


@pytest.mark.parametrize("agreed", [0.0, 0.35999, 0.36001, 4.0])
def test_a_window_of_another_threshold_is_refused(agreed: float) -> None:
    with pytest.raises(HeaderMismatch, match=f"found threshold {PARAMS.threshold}, this party"):
        check_threshold(agreed, PARAMS)
