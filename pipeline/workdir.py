"""The one folder that everything written lands in.

::

    features/<recipe id>/     a store
    features/audio_hashes.parquet
    runs/<run>/               one training: run.json, predictions, bundle, report
    nights/<night>/           one night: night.json, night.md, night.html
    comparisons/<time>/       runs side by side: comparison.json, report.html
    baselines/                vectors of baselines, by content; may be deleted at any time
    corpora/                  what the demo makes
    imports/                  manifests of what was imported
    anonymise.salt            who is who in exports without names; keep it to yourself
    scratch/                  files of runs under way: a local cluster's, a streamed training's
"""

import importlib.util
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

PACKAGES = ("pipeline", "stages", "features_cache", "models", "reports")


class WorkdirError(ValueError):
    """A folder that must not be written to, or a run that is not there."""


@dataclass(frozen=True, slots=True)
class Workdir:
    """Names of everything below ``--workdir``.

    Raises
    ------
    WorkdirError
        The folder lies in one of the project's own packages.
    """

    root: Path

    def __post_init__(self) -> None:
        for package in PACKAGES:
            spec = importlib.util.find_spec(package)
            home = Path(spec.origin).parent if spec and spec.origin else None
            if home and self.root.absolute().is_relative_to(home):
                message = (
                    f"the workdir {self.root} lies in the source package {package!r}; expected a "
                    "folder outside the sources; give another --workdir"
                )
                raise WorkdirError(message)

    @property
    def features(self) -> Path:
        """Folder of the stores."""
        return self.root / "features"

    @property
    def hashes_file(self) -> Path:
        """Digests of audio files, shared by all stores."""
        return self.features / "audio_hashes.parquet"

    @property
    def baselines(self) -> Path:
        """Folder of the baselines' vectors."""
        return self.root / "baselines"

    @property
    def imports(self) -> Path:
        """Folder of the manifests that came with imported features."""
        return self.root / "imports"

    @property
    def salt_file(self) -> Path:
        """The salt of names in anonymised exports."""
        return self.root / "anonymise.salt"

    @property
    def scratch(self) -> Path:
        """Folder for files that nobody needs after the run."""
        return self.root / "scratch"

    def store_folder(self, recipe_id: str) -> Path:
        """Folder of one recipe's store."""
        return self.features / recipe_id

    @property
    def runs(self) -> Path:
        """Folder of the trainings."""
        return self.root / "runs"

    @property
    def nights(self) -> Path:
        """Folder of the nights, and of the lock that only one of them holds."""
        return self.root / "nights"

    def new_run(self, title: str) -> Path:
        """Make the folder of a new run, named after the time and a title."""
        return _new_folder(self.runs, f"{_now()}-{re.sub(r'[^a-z0-9]+', '-', title.lower())}")

    def new_night(self) -> Path:
        """Make the folder of a night, named after the time."""
        return _new_folder(self.nights, _now())

    def new_comparison(self) -> Path:
        """Make the folder of a comparison of runs, named after the time."""
        return _new_folder(self.root / "comparisons", _now())

    def find_run(self, name: str) -> Path:
        """Find a run by its name below the workdir, or by its folder."""
        for folder in (self.runs / name, Path(name)):
            if (folder / "run.json").is_file():
                return folder
        message = (
            f"no run is named {name!r}; expected a folder with a run.json, or a name below "
            f"{self.runs}"
        )
        raise WorkdirError(message)


def _now() -> str:
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _new_folder(parent: Path, stem: str) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        folder = parent / (stem if attempt == 1 else f"{stem}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    message = f"{parent} holds a thousand folders named {stem}; remove some"
    raise WorkdirError(message)
