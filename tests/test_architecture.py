"""The house: imports run downhill, each heavy library has one room, errors travel whole."""

import ast
import importlib
import inspect
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND_FLOOR = ("features_cache", "models", "reports")
BELOW = {
    "pipeline": {"stages", *GROUND_FLOOR},
    "stages": set(GROUND_FLOOR),
    **{room: set() for room in GROUND_FLOOR},
}
FILES = sorted(file for room in BELOW for file in (ROOT / room).rglob("*.py"))
NAMES = [file.relative_to(ROOT).as_posix() for file in FILES]
every_module = pytest.mark.parametrize("file", FILES, ids=NAMES)


@dataclass(frozen=True)
class Import:
    """One imported module, and whether it is imported only when a function runs."""

    module: str
    is_lazy: bool
    line: int

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


def imports_of(file: Path) -> list[Import]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return [
        Import(module, is_lazy, node.lineno)
        for node, is_lazy in _walk(tree, is_lazy=False)
        for module in _modules(node, package_of(file))
    ]


def package_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).parts[:-1])


def module_of(file: Path) -> str:
    return package_of(file) if file.stem == "__init__" else f"{package_of(file)}.{file.stem}"


def _walk(node: ast.AST, *, is_lazy: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, is_lazy
        inside = is_lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from _walk(child, is_lazy=inside)


def _modules(node: ast.AST, package: str) -> list[str]:
    """Name what a statement imports, `import_module("x")` and `__import__("x")` included."""
    match node:
        case ast.Import(names=names):
            return [each.name for each in names]
        case ast.ImportFrom(module=module, level=0):
            return [str(module)]
        case ast.ImportFrom(module=module, level=level):
            parts = package.split(".")
            return [".".join([*parts[: len(parts) - level + 1], module or ""]).rstrip(".")]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def room_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0]


def test_the_five_rooms_are_there() -> None:
    assert {room_of(file) for file in FILES} == set(BELOW)


@every_module
def test_imports_run_downhill(file: Path) -> None:
    room = room_of(file)
    uphill = [
        f"line {each.line}: {each.module}"
        for each in imports_of(file)
        if each.top in BELOW and each.top != room and each.top not in BELOW[room]
    ]
    assert not uphill


def neighbours_of(file: Path) -> set[str]:
    """Name all that a file imports: at once, lazily or for its types alone, by whatever words."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = _modules(node, package_of(file))
        found.update(modules)
        if isinstance(node, ast.ImportFrom):
            found |= {f"{module}.{each.name}" for module in modules for each in node.names}
    return found


def circle_in(room: str) -> list[str]:
    """Modules of a room that import each other round in a circle; none if there is no circle."""
    files = {module_of(file): file for file in (ROOT / room).rglob("*.py")}
    imports = {name: neighbours_of(file) & files.keys() for name, file in files.items()}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("room", BELOW)
def test_inside_a_room_imports_have_no_circles(room: str) -> None:
    assert circle_in(room) == []


@pytest.mark.parametrize(
    "back",
    [
        "from stages.deep import one",
        "from stages.deep.one import name",
        "from . import one",
        "import stages.deep.one",
        "def f():\n  from stages.deep.one import name",
        "if TYPE_CHECKING:\n  from stages.deep.one import name",
    ],
)
def test_a_circle_is_seen_however_it_is_closed(
    back: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / "stages" / "deep"
    deep.mkdir(parents=True)
    (deep / "__init__.py").write_text("")
    (deep / "one.py").write_text("from stages.deep.two import name")
    (deep / "two.py").write_text("import stages.deep.three")
    (deep / "three.py").write_text("from models import one")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert circle_in("stages") == []
    (deep / "three.py").write_text(back)
    assert set(circle_in("stages")) == {f"stages.deep.{name}" for name in ("one", "two", "three")}


@every_module
def test_nothing_that_is_installed_imports_tests_or_benchmarks(file: Path) -> None:
    assert not {each.top for each in imports_of(file)} & {"tests", "benchmarks"}


@every_module
def test_only_the_features_cache_knows_hdf5(file: Path) -> None:
    imports = {each.top for each in imports_of(file)}
    assert room_of(file) == "features_cache" or not imports & {"h5py", "tables", "zarr"}


@every_module
def test_only_models_import_keras_but_for_the_doctor_who_looks_at_it_lazily(file: Path) -> None:
    keras = [each for each in imports_of(file) if each.top == "keras"]
    if file.relative_to(ROOT).as_posix() == "pipeline/doctor.py":
        keras = [each for each in keras if not each.is_lazy]
    assert room_of(file) == "models" or not keras


@every_module
def test_nobody_imports_a_backend_of_keras(file: Path) -> None:
    assert not {each.top for each in imports_of(file)} & {"tensorflow", "jax", "torch"}


@every_module
def test_nothing_below_the_pipeline_prints(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    printed = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert room_of(file) == "pipeline" or not printed


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if file.name == "__init__.py"],
    ids=[name for name in NAMES if name.endswith("__init__.py")],
)
def test_an_init_file_holds_a_docstring_and_at_most_the_version(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    rest = [ast.unparse(node).partition(" = ")[0] for node in tree.body[1:]]
    assert rest == (["__version__"] if room_of(file) == file.parent.name == "pipeline" else [])


def test_every_folder_with_modules_is_a_package() -> None:
    assert not [file.parent for file in FILES if not (file.parent / "__init__.py").is_file()]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("import keras.ops as ops", ["keras.ops"]),
        ("from keras import ops", ["keras"]),
        ("from . import shard", ["features_cache.deep"]),
        ("from ..shard import rows", ["features_cache.shard"]),
        ("def f():\n  if True:\n    import h5py", ["h5py"]),
        ("import importlib\nimportlib.import_module('keras')", ["importlib", "keras"]),
        ("if TYPE_CHECKING:\n  from stages import plan", ["stages"]),
    ],
)
def test_every_way_to_import_is_seen(
    statement: str, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "features_cache" / "deep" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_text(statement)
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [each.module for each in imports_of(file)] == expected


def errors_of(file: Path) -> list[type[Exception]]:
    module = importlib.import_module(module_of(file))
    return [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Exception) and each.__module__ == module.__name__
    ]


def _may_define_errors(file: Path) -> bool:
    """Spare the import of heavy modules where no class has a base at all."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.ClassDef) and node.bases for node in ast.walk(tree))


@pytest.mark.parametrize(
    "file",
    [file for file in FILES if _may_define_errors(file)],
    ids=[name for file, name in zip(FILES, NAMES, strict=True) if _may_define_errors(file)],
)
def test_errors_carry_one_message_and_survive_the_way_between_processes(file: Path) -> None:
    for error_class in errors_of(file):
        error = error_class("seen; expected; what to do")
        there = pickle.loads(pickle.dumps(error))
        assert type(there) is error_class
        assert str(there) == str(error) == "seen; expected; what to do"
        assert vars(there) == vars(error)
        assert not issubclass(error_class, KeyError), "str() of a KeyError adds quotes"


def test_errors_are_found_where_they_are_defined() -> None:
    found = errors_of(ROOT / "pipeline" / "config.py")
    assert [each.__qualname__ for each in found] == ["ConfigError"]
