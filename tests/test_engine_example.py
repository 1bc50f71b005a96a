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


DIES = """
import os, signal, sys
from pathlib import Path
import numpy as np
from party.engine import begin, multiply

folder, material, address = sys.argv[1:]
with begin(Path(folder), Path(material), address, deadline=3) as session:
    x = session.input(0, (9,), np.arange(9) if session.party == 0 else None)
    y = session.run(multiply(x, x))
    if session.party == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    session.open(y)
"""
REASON = """
import sys
from pathlib import Path
from party.engine import begin

try:
    begin(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], deadline=1)
except Exception as error:
    print(type(error).__name__)
"""


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
    files = stage.mint(COUNTS)
    outputs = stage.run([example(tmp_path)], files, seconds=120)
    a = np.arange(9).reshape(3, 3) - 4
    product = a @ (a.T * 2)
    expected = str([product, (a < product).astype(np.int64)])
    assert [output.decode().strip() for output in outputs] == [expected, expected]
    again = tmp_path / "reason.py"
    again.write_text(REASON)
    refused = stage.run([str(again)], files, seconds=120)
    assert [output.split() for output in refused] == [[b"SlotReused"], [b"SlotReused"]]


def test_a_session_dies_with_one_party_and_is_never_taken_up_again(
    stage: EngineStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PAGE.parent.parent))
    dies, reason = tmp_path / "dies.py", tmp_path / "reason.py"
    dies.write_text(DIES)
    reason.write_text(REASON)
    files = stage.mint(COUNTS)
    with pytest.raises(ResourceError, match=r"exit codes \[1, -9\]"):
        stage.run([str(dies)], files, seconds=120)
    outputs = stage.run([str(reason)], files, seconds=120)
    # Each is refused by its own mark.
    assert [output.split() for output in outputs] == [[b"SlotReused"], [b"SlotReused"]]
