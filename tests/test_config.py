"""Configuration files: precedence, strict types, and messages that name key, line and remedy."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ConfigError, read_config, use_config


@click.group()
@click.option("--config", type=click.Path(path_type=Path), is_eager=True, callback=use_config)
@click.option("--workdir", default="runs")
def tree(config: Path | None, workdir: str) -> None: ...


@tree.command()
@click.argument("manifest", default="m.csv")
@click.option("--workers", type=int, default=1)
@click.option("--batch-size", "n_batch", type=click.IntRange(min=8), default=32)
@click.option("--max-hours", type=float, default=1.0)
@click.option("--dry-run", is_flag=True)
@click.option("--recipe", multiple=True)
@click.option("--until", type=click.DateTime(["%H:%M"]))
@click.option("-o", "output", type=click.Path(exists=True))
@click.option("--workdir", default="runs")
@click.option("--quiet/--no-quiet", default=True)
def extract(**options: object) -> None:
    click.echo(repr(options))


@tree.command()
@click.option("--folds", type=click.Choice(["speaker", "session"]), default="speaker")
@click.option("--workers", type=int, default=1)
@click.option("--range", "band", type=(float, float))
@click.option("--size", nargs=2, type=int, multiple=True)
@click.option("--config", type=click.Path(path_type=Path), is_eager=True, callback=use_config)
def train(**options: object) -> None:
    click.echo(repr(options["workers"]))


@tree.group()
def store() -> None: ...


@store.command()
@click.option("--full", is_flag=True)
@click.option("--workers", type=int, default=1)
def verify(full: bool, workers: int) -> None:
    click.echo(repr((full, workers)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "emo.toml"


def _read(file: Path, text: str) -> dict[str, Any]:
    file.write_text(text, encoding="utf-8")
    return read_config(file, tree)


def test_a_top_level_key_reaches_every_verb_that_has_the_option_and_no_other(file: Path) -> None:
    assert _read(file, "workers = 3") == {
        "extract": {"workers": 3},
        "train": {"workers": 3},
        "store": {"verify": {"workers": 3}},
    }
    assert _read(file, 'workdir = "w"') == {"workdir": "w", "extract": {"workdir": "w"}}


def test_a_key_of_a_verb_beats_one_of_its_group_which_beats_the_top(file: Path) -> None:
    text = "workers = 1\n[store]\nworkers = 2\n[store.verify]\nworkers = 3\n[train]\nworkers = 4"
    assert _read(file, text) == {
        "extract": {"workers": 1},
        "train": {"workers": 4},
        "store": {"verify": {"workers": 3}},
    }


@pytest.mark.parametrize(
    "text",
    [
        "[extract]\nbatch-size = 8",
        "[extract]\nbatch_size = 8",
        '"extract".batch_size = 8',
        "extract = {batch-size = 8}",
    ],
)
def test_dashes_underscores_dotted_keys_and_inline_tables_mean_the_same(
    file: Path, text: str
) -> None:
    assert _read(file, text) == {"extract": {"n_batch": 8}}


@pytest.mark.parametrize(
    ("text", "verb", "name", "value"),
    [
        ("[extract]\nmax-hours = 2", "extract", "max_hours", 2),
        ("[extract]\nmax-hours = 2.5", "extract", "max_hours", 2.5),
        ("[extract]\ndry-run = false", "extract", "dry_run", False),
        ('[extract]\nrecipe = ["a", "b"]', "extract", "recipe", ["a", "b"]),
        ("[extract]\nrecipe = []", "extract", "recipe", []),
        ('[extract]\nuntil = "06:30"', "extract", "until", "06:30"),
        ('[extract]\noutput = "not/there"', "extract", "output", "not/there"),
        ("[extract]\nquiet = false", "extract", "quiet", False),
        ("[train]\nrange = [1, 2.5]", "train", "band", [1, 2.5]),
        ("[train]\nsize = [[1, 2], [3, 4]]", "train", "size", [[1, 2], [3, 4]]),
        ('[train]\nfolds = "session"', "train", "folds", "session"),
    ],
)
def test_values_of_the_right_type_pass_unchanged(
    file: Path, text: str, verb: str, name: str, value: object
) -> None:
    assert _read(file, text) == {verb: {name: value}}


def test_one_value_is_a_list_of_one_for_a_verb_that_takes_several(file: Path) -> None:
    assert _read(file, "recipe = 'ab'") == {"extract": {"recipe": ["ab"]}}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("worker = 1", 1, "unknown key 'worker'; the nearest valid name is 'workers'"),
        ("\n[extrct]\n", 2, "unknown key 'extrct'; the nearest valid name is 'extract'"),
        ("[extract]\nBatchSize = 8", 2, "'BatchSize' of [extract]; the nearest .* 'batch-size'"),
        ("[store.verif]\nfull = true", 1, "'verif' of [store]; the nearest .* 'verify'"),
        ("[extract]\nfolds = 'speaker'", 2, "unknown key 'folds' of [extract]"),
        ("[extract]\nmanifest = 'm.csv'", 2, "unknown key 'manifest'"),
        ("[extract]\nno-quiet = true", 2, "unknown key 'no-quiet' of [extract]; .* 'quiet'"),
        ("[extract.workers]\n", 1, "expected a whole number; found a table"),
        ("config = 'other.toml'", 1, "unknown key 'config'"),
        ("help = true", 1, "unknown key 'help'"),
        ("extract = 3", 1, "'extract' is a verb: expected a table, found the number 3"),
        ("[[extract]]\nworkers = 1", 1, "'extract' is a verb: expected a table, found a list"),
        ("[extract]\nworkers = '4'", 2, "expected a whole number; found the text '4'"),
        ("[extract]\nworkers = true", 2, "expected a whole number; found true"),
        ("[extract]\nworkers = 4.0", 2, "expected a whole number; found the number 4.0"),
        ("[extract]\nmax-hours = 07:30:00", 2, "expected a number; found the date 07:30:00"),
        ("[extract]\nmax-hours = false", 2, "expected a number; found false"),
        ("[extract]\ndry-run = 1", 2, "expected true or false; found the number 1"),
        ("[extract]\nbatch-size = 4", 2, "4 is not in the range x>=8"),
        ("[extract]\nrecipe = 1", 2, "expected text; found the number 1"),
        ("[extract]\nrecipe = {}", 2, "expected text; found a table"),
        ("[extract]\nrecipe = ['a', 1]", 2, "expected text; found the number 1"),
        ("[extract]\nuntil = 'dawn'", 2, "'dawn' does not match the format '%H:%M'"),
        ("[train]\nfolds = 'file'", 2, "'file' is not one of 'speaker', 'session'"),
        ("[train]\nfolds = 1", 2, "expected text (speaker, session); found the number 1"),
        ("[train]\nrange = [1]", 2, "expected a list of 2 values; found a list"),
        ("[train]\nsize = [[1, 2.5]]", 2, "expected a whole number; found the number 2.5"),
        ("workers = 'x'", 1, "workers is --workers of 'extract': expected a whole number"),
        ("[extract]\nbatch-size = 8\nbatch_size = 9", 3, "'batch_size' stands here twice"),
    ],
)
def test_a_mistake_is_told_in_one_line_with_file_key_and_line(
    file: Path, text: str, line: int, message: str
) -> None:
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(ConfigError, match=pattern) as caught:
        _read(file, text)
    told = str(caught.value)
    assert told.startswith(f"{file} line {line}: ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("before", "statement"),
    [
        ('# worker = 1\nquiet = true # "[extract]\n\n', "worker = 1"),
        ("[extract]\nworkers = 2\n[train]\n", "worker = 1"),
        ('workdir = """\nworker = 1\n[extract]\n"""\n', "worker = 1"),
        ("workdir = '''\nworker = 1'''\n", "'worker' = 1"),
        ("[extract]\nrecipe = [\n  'a', # ]\n  'worker = 1',\n]\n", 'worker = """\n1"""'),
        ("quiet = true\n[extract]\n", 'recipe = [\n "a",\n 3,\n]'),
        ("quiet = true\n\n", "store.verify.worker = 1"),
        ("quiet = true\n\n", 'extract = {workers = 2, "worker" = 1}'),
        ("[store]\nworkers = 1\n", '[ store . "worker" ]'),
        ("[extract]\r\nworkers = 2\r\n\r\n", "worker = 1\r\n"),
    ],
    ids=range(10),
)
def test_the_line_is_that_of_the_statement_whatever_stands_before_and_after_it(
    file: Path, before: str, statement: str
) -> None:
    file.write_bytes(f"{before}{statement}\n# the end\n".encode())
    with pytest.raises(ConfigError) as caught:
        read_config(file, tree)
    assert f"line {before.count(chr(10)) + 1}: " in str(caught.value)


BLOCKS = [
    "",
    "# nobody = 1",
    "[train]\nworkers = 2",
    "[extract]\nrecipe = [\n'nobody = 1'\n]",
    "[store.verify]\nfull = true",
]


@given(st.lists(st.sampled_from(BLOCKS), unique=True))
def test_an_unknown_key_after_anything_is_found_on_its_own_line(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[str]
) -> None:
    before = "".join(f"{each}\n" for each in blocks)
    file = tmp_path_factory.mktemp("config") / "emo.toml"
    with pytest.raises(
        ConfigError, match=f"line {before.count(chr(10)) + 1}: unknown key 'nobody'"
    ):
        _read(file, f"{before}nobody = 1")


def test_a_file_that_is_not_toml_is_refused_with_its_line(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"emo.toml is not valid TOML: .*line 2"):
        _read(file, "workers = 1\nworkers 2\n")


def test_a_file_that_is_not_text_is_refused_with_its_line(file: Path) -> None:
    file.write_bytes(b"# one\nworkdir = '\xff'\n")
    with pytest.raises(ConfigError, match=r"emo.toml line 2: a byte that is not UTF-8"):
        read_config(file, tree)


def test_a_file_that_is_missing_is_refused_by_name(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"emo.toml cannot be read: No such file"):
        read_config(file, tree)


@pytest.mark.parametrize(
    ("flag", "environment", "in_file", "expected"),
    [
        (["--workers", "4"], "3", "workers = 2", 4),
        ([], "3", "workers = 2", 3),
        ([], None, "workers = 2", 2),
        ([], None, "", 1),
    ],
    ids=["flag", "environment", "file", "default"],
)
@pytest.mark.parametrize("place", ["root", "verb"])
def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(
    file: Path, place: str, flag: list[str], environment: str | None, in_file: str, expected: int
) -> None:
    file.write_text(f"[train]\n{in_file}\n")
    given = ["--config", str(file)]
    args = [*given, "train", *flag] if place == "root" else ["train", *given, *flag]
    result = CliRunner().invoke(
        tree,
        args,
        env={"EMOSTACK_TRAIN_WORKERS": environment},
        auto_envvar_prefix="EMOSTACK",
        catch_exceptions=False,
    )
    assert result.output == f"{expected}\n"


def test_click_converts_what_the_file_gave(file: Path, tmp_path: Path) -> None:
    file.write_text(
        f"[extract]\nrecipe = ['a', 'b']\ndry-run = true\nmax-hours = 2\nuntil = '06:30'\n"
        f"output = {str(tmp_path)!r}\n"
    )
    result = CliRunner().invoke(tree, ["--config", str(file), "extract"], catch_exceptions=False)
    for shown in ["'recipe': ('a', 'b')", "'dry_run': True", "'max_hours': 2.0", "time(1900"]:
        assert shown in result.output


def test_nested_verbs_are_reached(file: Path) -> None:
    file.write_text("[store.verify]\nfull = true\n")
    args = ["--config", str(file), "store", "verify"]
    assert CliRunner().invoke(tree, args, catch_exceptions=False).output == "(True, 1)\n"


def test_the_real_command_line_takes_options_of_its_verbs_and_refuses_others(file: Path) -> None:
    from pipeline.cli import emostack as real

    file.write_text('workdir = "elsewhere"\n[extract]\nworkers = 0\n[store.verify]\nfull = true\n')
    defaults = read_config(file, real)
    assert defaults["extract"]["n_workers"] == 0
    assert defaults["extract"].get("workdir", defaults.get("workdir")) == "elsewhere"
    assert defaults["store"]["verify"]["full"] is True
    file.write_text("[extract]\nbatch_sizes = 8\n")
    with pytest.raises(ConfigError, match=r"line 2: .*'batch-size'"):
        read_config(file, real)
