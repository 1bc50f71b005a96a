"""The stand-in for the two functions of torchvision, and that it leaves no trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.vision.facenet import suppress
from tests.vision_support import NEEDS_VISION

ROOT = Path(__file__).resolve().parents[3]


def overlap(a: list[int], b: list[int]) -> float:
    """Intersection over union, obviously."""
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


side = st.integers(1, 12)
box = st.tuples(st.integers(0, 9), st.integers(0, 9), side, side).map(
    lambda v: [v[0], v[1], v[0] + v[2], v[1] + v[3]]
)


@settings(max_examples=60)
@given(st.lists(st.tuples(box, st.integers(0, 1)), max_size=12), st.sampled_from([0.3, 0.5, 0.7]))
def test_a_box_is_dropped_exactly_when_a_better_kept_one_of_its_group_covers_it(
    found: list[tuple[list[int], int]], threshold: float
) -> None:
    boxes = np.array([b for b, _ in found], dtype=np.float64).reshape(-1, 4)
    groups = np.array([g for _, g in found], dtype=np.int64)
    scores = np.linspace(0.9, 0.1, len(found))
    expected: list[int] = []
    for index, (candidate, group) in enumerate(found):
        rivals = [found[k][0] for k in expected if found[k][1] == group]
        if all(overlap(candidate, rival) <= threshold for rival in rivals):
            expected.append(index)
    order = np.random.default_rng(len(found)).permutation(len(found))
    kept = suppress(boxes[order], scores[order], groups[order], threshold)
    assert order[kept].tolist() == expected


PROBE = """
import sys
import numpy as np
from shared.vision.detect import Detector
faces = Detector().detect(np.zeros((64, 64, 3), np.uint8))
import torch
print(len(faces), torch.get_num_threads(), any(n.startswith("torchvision") for n in sys.modules))
"""


class TestBesideABrokenTorchvision:
    pytestmark = NEEDS_VISION

    def test_the_detector_works_and_no_torchvision_is_left(self, tmp_path: Path) -> None:
        package: Any = tmp_path / "torchvision"
        package.mkdir()
        (package / "__init__.py").write_text(
            "from torchvision import half\nraise RuntimeError('operator nms does not exist')\n"
        )
        (package / "half.py").write_text("")
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            cwd=ROOT,
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "", "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "0 1 False\n", done.stderr
