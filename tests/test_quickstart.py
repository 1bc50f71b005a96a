"""docs/quickstart.md is run from top to bottom, as a reader would on one machine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.vision_support import NEEDS_VISION

PAGE = Path(__file__).resolve().parent.parent / "docs" / "quickstart.md"
PORTS = ("7701", "7702", "7703", "7704")
SECONDS = 500

pytestmark = [*NEEDS_VISION, pytest.mark.slow, pytest.mark.timeout(SECONDS + 60)]


def commands() -> str:
    """All shell blocks of the page, with ports that are free here."""
    script = "\n".join(
        re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    )
    with ExitStack() as stack:
        for port in PORTS:
            assert f":{port}" in script
            free = stack.enter_context(socket.socket())
            free.bind(("127.0.0.1", 0))
            script = script.replace(f":{port}", f":{free.getsockname()[1]}")
    return "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + script


def put_photos(folder: Path) -> None:
    """One person to enrol; the same one, mirrored and dimmed, and an empty street at the door."""
    import cv2
    from skimage import data

    person = data.astronaut()[:320, 60:380, ::-1]  # OpenCV wants blue first
    dimmed = (person[:, ::-1] * 0.7).astype("uint8")
    (folder / "frames").mkdir()
    cv2.imwrite(str(folder / "photo.jpg"), person)
    cv2.imwrite(str(folder / "frames" / "1.jpg"), dimmed)
    cv2.imwrite(str(folder / "frames" / "2.jpg"), dimmed * 0 + 90)


def faces(folder: Path, file: str = "events.jsonl") -> list[dict[str, Any]]:
    lines = (folder / "state" / file).read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "face"]


def test_every_command_of_the_quickstart_works_and_both_parties_find_the_enrolled_faces(
    tmp_path: Path,
) -> None:
    put_photos(tmp_path)
    scripts = Path(sys.executable).parent
    yes = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    process = subprocess.Popen(
        ["bash", "-e", "-c", commands()],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        stdin=yes.stdout,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        yes.kill()
        yes.communicate()
    assert process.returncode == 0, output
    for party in ("police", "court"):
        found = faces(tmp_path / party)
        assert [(f["status"], f["entries"]) for f in found] == [("verified", ["case 17"])], output
        found = faces(tmp_path / party, "private-events.jsonl")
        assert [(f["status"], f["entries"]) for f in found] == [("verified", ["file 4711"])], output
    assert list((tmp_path / "north-door" / "material").glob("*.tkm")) == []
    assert not (tmp_path / "north-door" / "state" / "window-keys" / "first.key").exists()
