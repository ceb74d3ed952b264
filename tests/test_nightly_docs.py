"""The recipes of docs/nightly.md are run, not only read."""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
import yaml

from features_cache.snapshot import TRANSIENT
from features_cache.store import Store
from pipeline.cli import emostack
from pipeline.config import read_config
from tests.command_line import pages, write_voices
from tests.small_job import write_recipe

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "nightly.md").read_text(encoding="utf-8")
PLACES = ("/opt/emostack/bin", "/etc/emostack.toml", "/data", "/var/lib/node_exporter")
NAMES = [
    f"{speaker}a0{text}{mood}a" for speaker in ("03", "08") for text in (1, 2) for mood in "FW"
]


def block(language: str, holding: str) -> str:
    """The one block of a language that holds a text."""
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)
    (only,) = (each for each in found if holding in each)
    return str(only)


class Machine:
    """A machine as the page has it, below a folder: paths of the page are moved there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for place in ("/opt/emostack/bin", "/etc", "/data"):
            (root / place[1:]).mkdir(parents=True)
        program = root / "opt/emostack/bin/emostack"
        code = "from pipeline.cli import main; main()"
        program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{code}" "$@"\n')
        program.chmod(0o755)
        write_voices(root / "data/emodb", NAMES)
        recipe = write_recipe(root / "etc")
        config = self.moved(block("toml", "[nightly]"))
        for old, new in (
            ('"emostack-v1"', f'"{recipe}"'),
            ("workers = 4", "workers = 0"),
            ("train = true", "train = false"),
            ('until = "06:00"', '# until = "06:00"'),
        ):
            assert old in config
            config = config.replace(old, new)
        (root / "etc/emostack.toml").write_text(config, encoding="utf-8")

    def moved(self, text: str) -> str:
        for place in PLACES:
            text = re.sub(rf"(?<![\w.]){place}\b", f"{self.root}{place}", text)
        return text

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a line in a shell with the environment that cron gives, and what is asked for."""
        cron = {
            "HOME": str(self.root),
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "me",
        }
        return subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.root, env={**cron, **environment},
            capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip

    @property
    def workdir(self) -> Path:
        return self.root / "data/emostack"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def night(machine: Machine) -> subprocess.CompletedProcess[str]:
    """What cron's line gave on the first night."""
    (line,) = (each for each in block("crontab", "nightly").splitlines() if "nightly" in each)
    assert re.search(r"(?<!\\)%", line) is None, "cron reads % as a newline"
    minute, hour, *days, command = line.split(maxsplit=5)
    assert (0 <= int(minute) < 60, 0 <= int(hour) < 24, days) == (True, True, ["*"] * 3)
    return machine.run(machine.moved(command))


def test_the_config_has_every_option_of_the_verb_and_reads_as_one(tmp_path: Path) -> None:
    text = block("toml", "[nightly]")
    path = tmp_path / "c.toml"
    path.write_text(text, encoding="utf-8")
    assert read_config(path, emostack)["nightly"]["seeds"] == 1  # type: ignore[index]
    path.write_text(re.sub(r"^# (?=[a-z-]+ = )", "", text, flags=re.MULTILINE), encoding="utf-8")
    read_config(path, emostack)
    nightly = emostack.commands["nightly"]
    options = {
        (option.opts[0].removeprefix("--"))
        for option in nightly.params
        if isinstance(option, click.Option) and not option.is_eager
    }
    keys = set(re.findall(r"^(?:# )?([a-z-]+) = ", text, flags=re.MULTILINE))
    assert options - keys == {"json", "debug"}
    assert keys <= options


def test_crons_line_does_a_night_and_mails_one_line_and_the_page(
    machine: Machine, night: subprocess.CompletedProcess[str]
) -> None:
    assert night.returncode == 0, night.stderr
    line, page = night.stdout.splitlines()
    assert line.startswith("emostack emodb: ok, +8 new")
    assert Path(page).is_file()
    assert "warning: " in night.stderr  # eight files are not all of EMO-DB
    assert (machine.root / "var/lib/node_exporter/emostack.prom").is_file()


def unit(holding: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(block("ini", holding))
    return parser


@pytest.mark.usefixtures("night")
def test_the_systemd_service_runs_a_night(machine: Machine) -> None:
    service, timer = unit("[Service]"), unit("[Timer]")
    assert timer["Timer"]["OnCalendar"]
    assert service["Service"]["KillSignal"] == "SIGTERM"
    done = machine.run(machine.moved(service["Service"]["ExecStart"]))
    assert done.returncode == 0, done.stderr
    assert "nothing changed" in done.stdout
    assert pages(machine.workdir)[-1]["status"] == "done"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_itself_finds_nothing_wrong_with_the_units(machine: Machine) -> None:
    for holding, name in (("[Service]", "emostack.service"), ("[Timer]", "emostack.timer")):
        text = machine.moved(block("ini", holding)).replace("User=emostack\n", "")
        (machine.root / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "emostack.service", "emostack.timer"],
        cwd=machine.root, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "emostack" in line]
    assert (done.returncode, told) == (0, [])


@pytest.mark.usefixtures("night")
def test_the_weekly_care_leaves_the_store_whole(machine: Machine) -> None:
    (store,) = machine.workdir.glob("features/*/shards")
    lines = block("sh", "store compact").splitlines()
    path = f"{machine.root}/opt/emostack/bin:/usr/bin:/bin"
    done = machine.run(machine.moved(" && ".join(lines)), PATH=path)
    assert done.returncode == 0, done.stderr
    assert "everything is whole" in done.stdout
    assert len(list(store.glob("*.h5"))) == 1


def test_the_alerts_name_gauges_that_there_are(
    machine: Machine, night: subprocess.CompletedProcess[str]
) -> None:
    assert night.returncode == 0
    gauges = (machine.root / "var/lib/node_exporter/emostack.prom").read_text()
    rules = yaml.safe_load(block("yaml", "alert"))["groups"][0]["rules"]
    for rule in rules:
        (name,) = re.findall(r"emostack_night_\w+", rule["expr"])
        assert f"{name}{{" in gauges


def test_the_table_of_reasons_tells_which_are_tried_again_by_themselves() -> None:
    rows = re.findall(r"^\| (`[^|]+) \| (every night|no) \|", TEXT, flags=re.MULTILINE)
    again = {code for codes, when in rows if when != "no" for code in re.findall(r"`(\w+)`", codes)}
    never = {code for codes, when in rows if when == "no" for code in re.findall(r"`(\w+)`", codes)}
    assert again == TRANSIENT
    source = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("stages", "features_cache")
        for path in (ROOT / folder).rglob("*.py")
    )
    assert [code for code in never if f'"{code}"' not in source] == []
    from stages.frontend.audio import CODES

    assert set(CODES) <= again | never


def test_every_command_of_the_page_is_a_command() -> None:
    for words in re.findall(r"emostack ((?:store )?[a-z]+)(?=[ `\n])", TEXT):
        command: click.Command = emostack
        for word in words.split():
            if not isinstance(command, click.Group) or word not in command.commands:
                break
            command = command.commands[word]
        else:
            continue
        assert words in ("emodb", "ok"), words


SBATCH = """\
    #!/bin/bash
    # In place of Slurm: a job array, one task after the other.
    for last; do :; done
    case "$*" in
      *--wrap*) sh -c "$last" ;;
      *)
        n=$(sed -n 's/^#SBATCH --array=1-//p' "$last")
        for i in $(seq "$n"); do
          SLURM_ARRAY_TASK_ID=$i SLURM_ARRAY_TASK_COUNT=$n SLURM_CPUS_PER_TASK=0 \\
            bash "$last" >&2 || echo "task $i: $?" >>failed
        done
        echo 17 ;;
    esac
"""


def stacks(folder: Path) -> dict[str, bytes]:
    (recipe,) = folder.glob("features/*/recipe.json")
    store = Store(recipe.parent)
    return {
        name: store.stack(name).tobytes() for name in store.live(["utterance_id"])["utterance_id"]
    }


@pytest.mark.slow
def test_slurms_array_and_merge_give_the_store_of_one_job(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    bin_folder, audio = tmp_path / "opt/emostack/bin", tmp_path / "data/emodb"
    (bin_folder / "sbatch").write_text(textwrap.dedent(SBATCH))
    (bin_folder / "sbatch").chmod(0o755)
    script = machine.moved(block("sh", "#SBATCH")).replace("--array=1-8", "--array=1-3")
    (tmp_path / "extract.sh").write_text(script)
    submit = machine.moved(block("sh", "--parsable"))
    environment = {
        "PATH": f"{bin_folder}:/usr/bin:/bin",
        "EMOSTACK_EXTRACT_RECIPE_NAME": str(tmp_path / "etc/tiny.toml"),
    }

    def submit_everything() -> subprocess.CompletedProcess[str]:
        command = f"emostack manifest emodb {audio} -o {tmp_path}/data/emodb.csv --quiet"
        assert machine.run(command, **environment).returncode == 0
        return machine.run(submit, **environment)

    def in_one_go(name: str) -> dict[str, bytes]:
        words = ["emostack", "extract", f"{tmp_path}/data/emodb.csv", "--audio", str(audio)]
        command = shlex.join([*words, "--workers", "0", "--workdir", name])
        assert machine.run(command, **environment).returncode == 0
        return stacks(tmp_path / name)

    done = submit_everything()
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "failed").exists(), done.stderr
    assert "nothing changed" in done.stdout or "snapshot 1" in done.stdout
    assert stacks(machine.workdir) == in_one_go("one")
    write_voices(audio, ["09a01Fa", "other"])
    (audio / "other.wav").replace(audio / f"{NAMES[0]}.wav")
    (audio / f"{NAMES[1]}.wav").unlink()
    done = submit_everything()
    assert done.returncode == 0, done.stderr
    assert "other_audio" in done.stderr
    assert stacks(machine.workdir) == in_one_go("two")
    assert set(stacks(machine.workdir)) == {*NAMES, "09a01Fa"} - {NAMES[1]}
    verify = machine.run(f"emostack store verify --full --workdir {machine.workdir}", **environment)
    assert verify.stdout == "everything is whole\n"


@pytest.mark.slow
def test_the_clusters_two_lines_start_a_cluster_that_does_a_night(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    port = str(20000 + os.getpid() % 20000)
    text = (
        block("sh", "dask scheduler").replace("8786", port).replace("tcp://host", "tcp://127.0.0.1")
    )
    here = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    lines = [line.replace("--nworkers 4", "--nworkers 1") for line in text.strip().splitlines()]
    started = [
        subprocess.Popen(
            ["/bin/sh", "-c", re.sub(r"\bdask\b", "exec dask", line, count=1)],
            cwd=tmp_path, env=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for line in lines
    ]  # fmt: skip
    try:
        config = tmp_path / "etc/emostack.toml"
        text = config.read_text().replace("# scheduler", "scheduler")
        config.write_text(text.replace("tcp://host:8786", f"tcp://127.0.0.1:{port}"))
        for _ in range(10):  # until the workers have come
            done = machine.run(f"{tmp_path}/opt/emostack/bin/emostack nightly {config}")
            if done.returncode == 0:
                break
        assert "+8 new" in done.stdout, done.stderr
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)
