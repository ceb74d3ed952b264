"""The documents keep up with the code."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "stages", "features_cache", "models", "reports")


def _tree() -> set[str]:
    """Paths in the README's tree."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(b for b in text.split("```") if "pipeline/ " in b and "cli.py" in b)
    folders: list[str] = []
    paths = set()
    for line in block.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name]
        if name.endswith(".py"):
            paths.add("".join(folders))
    return paths


def test_the_readmes_tree_names_every_module_and_nothing_else() -> None:
    modules = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py"
    }
    assert _tree() == modules


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/method.md"])
def test_paths_that_documents_name_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:pipeline|stages|features_cache|models|reports|tests|docs)/[\w/.]+)`", text
    )
    missing = [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def test_every_verb_of_the_readme_is_a_verb() -> None:
    from pipeline.cli import emostack

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^(?:\.venv/bin/)?emostack (\w+)", text, flags=re.MULTILINE))
    assert verbs <= set(emostack.commands)
    assert set(emostack.commands) - verbs == {"report", "demo"}
