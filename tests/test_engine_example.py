"""The example of docs/engine.md, run by two processes as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from perf.engine_stage import EngineStage, make_engine_stage
from shared.engine_plan import INPUTS, MASK, SIGN, TRIPLE, matmul
from shared.errors import ResourceError

PAGE = Path(__file__).parent.parent / "docs" / "engine.md"
COUNTS = {INPUTS[0]: 9, INPUTS[1]: 9, matmul(3, 3, 3): 1, SIGN: 27, TRIPLE: 18, MASK: 18}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> EngineStage:
    return make_engine_stage(tmp_path_factory.mktemp("example"))


def example(folder: Path) -> str:
    """The program on the page, as a file."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)
    assert found is not None
    path = folder / "example.py"
    path.write_text(found.group(1))
    return str(path)


def test_two_processes_open_a_product_and_a_comparison_of_secret_matrices(
    stage: EngineStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parent.parent))
    outputs = stage.run([example(tmp_path)], stage.mint(COUNTS), seconds=120)
    a = np.arange(9).reshape(3, 3) - 4
    product = a @ (a.T * 2)
    expected = str([product, (a < product).astype(np.int64)])
    assert [output.decode().strip() for output in outputs] == [expected, expected]


def test_the_example_fits_its_plan_and_its_files_serve_once(
    stage: EngineStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parent.parent))
    files = stage.mint(COUNTS)
    program = [example(tmp_path)]
    stage.run(program, files, seconds=120)
    with pytest.raises(ResourceError, match="exit codes"):
        stage.run(program, files, seconds=120)
