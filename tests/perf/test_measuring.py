"""The instruments: workload, relay, waiting for lines, and the summary of runs."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from perf.appended import Appended
from perf.relay import Line, pump
from perf.report import Figure, number, summary
from perf.workload import random_workload
from shared.errors import ResourceError
from shared.fixedpoint import plaintext_matches


@pytest.mark.parametrize(("entries", "dim"), [(1, 1), (150, 128), (3, 512)])
def test_the_workload_is_in_range_and_has_both_bits(entries: int, dim: int) -> None:
    work = random_workload(400, entries, dim)
    bits = plaintext_matches(work.faces, work.distinct, work.params.threshold)
    assert work.faces.shape == (400, dim)
    assert len(work.distinct) == entries or dim == 1
    assert bits.any()
    assert not bits.all()


def test_the_workload_is_the_same_again() -> None:
    first, second = random_workload(10, 5, 8), random_workload(10, 5, 8)
    assert np.array_equal(first.faces, second.faces)
    assert np.array_equal(first.distinct, second.distinct)


@pytest.mark.parametrize("line", [Line(0.0, 0.0), Line(0.002, 5e6)])
def test_the_relay_hands_on_every_byte_in_order_and_the_end(line: Line) -> None:
    content = os.urandom(300_000)
    near, source = socket.socketpair()
    sink, far = socket.socketpair()
    with near, source, sink, far:
        threading.Thread(target=pump, args=(source, sink, line), daemon=True).start()

        def send() -> None:
            near.sendall(content)
            near.shutdown(socket.SHUT_WR)

        threading.Thread(target=send, daemon=True).start()
        found = b""
        while piece := far.recv(1 << 16):
            found += piece
    assert found == content


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_appended_lines_are_waited_for_in_every_file(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("old\n")
    with Appended(paths) as appended:
        append(paths[0], "1\n2\n")
        append(paths[1], "half of a line")
        with pytest.raises(ResourceError, match="not appended"):
            appended.wait_lines(1, 0.05)

    with Appended(paths) as appended:

        def write() -> None:
            for path in paths:
                append(path, "x\ny\n")

        writer = threading.Thread(target=write)
        writer.start()
        appended.wait_lines(2, 10.0)
        writer.join()


def test_a_summary_has_medians_and_their_spread() -> None:
    found = summary([Figure("speed", (3.0, 1.0, 2.5)), Figure("size", (7.0,))])
    assert found == {
        "speed": 2.5,
        "size": 7.0,
        "spread": {"speed": {"min": 1.0, "max": 3.0}, "size": {"min": 7.0, "max": 7.0}},
    }


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.1234, "0.123"), (12.34, "12.3"), (20_123.4, "20,123")]
)
def test_numbers_are_readable(value: float, text: str) -> None:
    assert number(value) == text
