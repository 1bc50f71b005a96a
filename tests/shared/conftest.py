"""Fixtures of the kernels' tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared import kernels


@pytest.fixture
def choose() -> Iterator[pytest.MonkeyPatch]:
    """A patch under which TWOKEY_KERNEL is read anew, and afterwards again."""
    with pytest.MonkeyPatch.context() as patch:
        _forget()
        yield patch
    _forget()


@pytest.fixture(params=list(kernels.available()))
def kernel(request: pytest.FixtureRequest, choose: pytest.MonkeyPatch) -> str:
    """Each kernel that this host can run, in turn, as the one in use."""
    name = str(request.param)
    choose.setenv("TWOKEY_KERNEL", name)
    return name


def _forget() -> None:
    kernels.kernel_name.cache_clear()
    kernels.kernel_number.cache_clear()
