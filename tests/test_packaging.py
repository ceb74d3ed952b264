"""What is installed: the wheel, its names, its dependencies, and a light front door."""

import fnmatch
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("pipeline", "stages", "features_cache", "models", "reports")
CONDA_NAMES = {
    "dask": "dask-core",  # conda-forge's `dask` brings bokeh and more
    "matplotlib": "matplotlib-base",  # without Qt
    "soundfile": "pysoundfile",
    "soxr": "soxr-python",
}
CONDA_ONLY = {"python", "pip"}
HEAVY = (
    "tensorflow",
    "keras",
    "jax",
    "torch",
    "librosa",
    "sklearn",
    "pandas",
    "matplotlib",
    "distributed",
    "pyarrow",
)


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _split(requirement: str) -> tuple[str, str]:
    """Give a name and its lower bound; only ``name`` and ``name>=bound`` are in use here."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:>=([0-9.]+))?", requirement)
    assert match, f"{requirement!r} is not of the form name>=bound"
    return match[1].lower(), match[2] or ""


def _conda() -> list[str | dict[str, list[str]]]:
    content = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    return list(content["dependencies"])


def test_environment_and_pyproject_name_the_same_packages_and_bounds(
    project: dict[str, Any],
) -> None:
    listed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in map(_split, listed)}
    there = dict(_split(each) for each in _conda() if isinstance(each, str))
    assert {name: there[name] for name in there.keys() - CONDA_ONLY} == wanted


def test_environment_asks_for_the_same_python(project: dict[str, Any]) -> None:
    assert f"python{project['requires-python']}" in _conda()


def test_environment_installs_the_project_itself_last() -> None:
    assert _conda()[-1] == {"pip": ["-e ."]}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("emostack-*.whl")
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_wheel_holds_every_module_of(package: str, wheel: set[str]) -> None:
    modules = {file.relative_to(ROOT).as_posix() for file in (ROOT / package).rglob("*.py")}
    assert f"{package}/__init__.py" in modules
    assert modules == {name for name in wheel if re.match(rf"{package}/.*\.py$", name)}
    assert f"{package}/py.typed" in wheel


def test_the_wheel_holds_the_templates(wheel: set[str]) -> None:
    files = (ROOT / "reports" / "templates").iterdir()
    templates = {file.relative_to(ROOT).as_posix() for file in files}
    assert templates
    assert templates <= wheel


def test_the_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.partition("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    assert not [name for name in wheel if "__pycache__" in name]


def test_no_other_distribution_owns_a_name_of_ours() -> None:
    owners = importlib.metadata.packages_distributions()
    assert {name: owners[name] for name in PACKAGES if name in owners} == {
        name: ["emostack"] for name in PACKAGES if name in owners
    }


def test_all_packages_are_found_next_to_each_other() -> None:
    specs = [importlib.util.find_spec(name) for name in PACKAGES]
    folders = {Path(spec.origin).parents[1] for spec in specs if spec and spec.origin}
    assert len(folders) == 1
    assert all(specs)


LOADED = """
import json, sys
from pipeline.cli import main
sys.argv = ["emostack", *sys.argv[1:]]
try:
    main()
except SystemExit as stopped:
    status = stopped.code
else:
    status = 0
print(json.dumps([status, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.mark.parametrize("verb", [[], ["demo"], ["extract"], ["train"], ["predict"], ["doctor"]])
def test_help_is_given_without_importing_anything_heavy(verb: list[str]) -> None:
    command = [sys.executable, "-c", LOADED, *verb, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stderr.splitlines()[-1])
    assert not status
    assert "Usage: emostack" in done.stdout
    assert not set(HEAVY) & set(modules)


def test_gitignore_never_names_a_package() -> None:
    lines = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip().strip("/") for line in lines if line.strip()[:1] not in ("", "#")]
    assert patterns
    hidden = [
        (pattern, package)
        for pattern in patterns
        for package in PACKAGES
        if any(fnmatch.fnmatch(package, part) for part in pattern.split("/") if part != "**")
    ]
    assert not hidden
