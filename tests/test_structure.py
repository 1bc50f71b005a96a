"""What must hold for the tree as a whole: who imports whom, and what no file may contain."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROLES = ("camera", "dealer", "party")
PACKAGES = (*ROLES, "perf", "shared")
HEAVY = ("cv2", "dlib", "face_recognition_models", "facenet_pytorch", "skimage", "torch")

MODULES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
SKIPPED_FOLDERS = {"build", "dist", "__pycache__"}


def tree_files() -> Iterator[Path]:
    """Every file of the project, without what tools leave behind."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(p.startswith(".") and p not in {".ci", ".gitignore"} for p in parts)
        left_behind = any(p in SKIPPED_FOLDERS or p.endswith(".egg-info") for p in parts)
        if path.is_file() and not hidden and not left_behind:
            yield path


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                found.add(path.relative_to(ROOT).parts[0])
            else:
                found.add(node.module or "")
    return found


def imported_packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported_modules(path)}


def test_every_package_has_modules() -> None:
    assert {p.relative_to(ROOT).parts[0] for p in MODULES} == set(PACKAGES)


@pytest.mark.parametrize("package", [*ROLES, "shared"])
def test_a_role_imports_shared_alone_and_shared_imports_no_role(package: str) -> None:
    forbidden = {"tests", *PACKAGES} - {package, "shared"}
    found = {
        name_of(path): sorted(forbidden & imported_packages(path))
        for path in MODULES
        if path.is_relative_to(ROOT / package)
    }
    assert {path: names for path, names in found.items() if names} == {}


IMPORT_ALL = """
import importlib, importlib.abc, sys
heavy, names = sys.argv[1].split(","), sys.argv[2:]

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in heavy:
            raise ImportError(f"{name} is not for this role")
        return None

sys.meta_path.insert(0, Refuse())
for name in names:
    importlib.import_module(name)
"""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("role", ["dealer", "party"])
def test_a_role_without_a_camera_imports_without_the_camera_extra(role: str) -> None:
    names = [
        module_name(path)
        for path in MODULES
        if path.is_relative_to(ROOT / role) and path.name != "__main__.py"
    ]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, ",".join(HEAVY), *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_no_module_is_called_utils() -> None:
    vague = {"utils", "util", "helpers", "common", "misc"}
    assert [name_of(p) for p in MODULES if {p.stem, p.parent.name} & vague] == []


def test_nothing_is_unpickled() -> None:
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}
    found = {name_of(p): sorted(forbidden & imported_packages(p)) for p in MODULES}
    assert {path: names for path, names in found.items() if names} == {}


def test_production_code_checks_with_typed_errors_and_not_with_assert() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Assert)
    ]
    assert found == []


# Put together from pieces, so that this file does not contain what it looks for.
MACHINE = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(work|root|home/\w+)/",
            "/opt/" + r"(wheels|pypi)",
            "py" + r"pi\.org",
            "python" + r"hosted\.",
            r"deb\.debian" + r"\.org",
            "registry" + r"\.npmjs",
        ]
    )
)


def test_no_file_names_a_machine_path_or_a_registry_host() -> None:
    found: list[str] = []
    for path in tree_files():
        if path == Path(__file__).resolve():
            continue
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name_of(path)}: {hit.group()}" for hit in MACHINE.finditer(text)]
    assert found == []


def headings(path: Path) -> set[str]:
    """The anchors that a renderer gives to the headings of a Markdown file."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    titles = re.findall(r"^#+ +(.+?) *$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


PAGES = sorted(p for p in tree_files() if p.suffix == ".md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_resolves(page: Path) -> None:
    broken: list[str] = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        aim = (page.parent / file).resolve() if file else page
        if not aim.exists() or (anchor and anchor not in headings(aim)):
            broken.append(target)
    assert broken == []


TEST_NAMES = {
    node.name
    for path in (ROOT / "tests").rglob("test_*.py")
    for node in ast.walk(parsed(path))
    if isinstance(node, ast.FunctionDef)
}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")))
    assert named - TEST_NAMES == set()
