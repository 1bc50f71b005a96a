"""Digests of what comes in pieces; the encoding itself is in the vectors."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shared.errors import FormatError
from shared.hashing import digest, digest_pieces

CONTENT = memoryview(bytes(range(200)))


@pytest.mark.parametrize("edges", [(0, 200), (0, 1, 199, 200), (0, 0, 64, 128, 200)])
def test_a_digest_of_pieces_is_that_of_the_whole(edges: tuple[int, ...]) -> None:
    pieces = [CONTENT[a:b] for a, b in pairwise(edges)]
    assert digest_pieces("x", 200, pieces) == digest("x", CONTENT)


@pytest.mark.parametrize("size", [1 << 32, (1 << 32) + 8, 1 << 64])
def test_a_field_whose_length_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(FormatError, match=f"digest of x: found {size} bytes"):
        digest_pieces("x", size, [])
    assert len(digest_pieces("x", (1 << 32) - 1, [])) == 32
