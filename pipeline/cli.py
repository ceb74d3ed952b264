"""``emostack``: the command line. Verbs import what they need when they run, so help comes at once.

Exit status: 0 done; 1 an error, told in one line; 2 wrong usage; 3 done, but files were newly
quarantined; 4 another run holds the lock; 130 interrupted, everything written so far whole.
"""

import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from features_cache.lock import LockedError
from pipeline import __version__
from pipeline.session import Session
from pipeline.verbs import corpus, features, machine, training, whole
from pipeline.workdir import PACKAGES

LOCKED, INTERRUPTED = 4, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="emostack")
def emostack() -> None:
    """Speech emotion recognition in two offline stages.

    Extract features once with a frozen ImageNet network; retrain a BLSTM-attention classifier on
    them cheaply, again and again; share them.

    \b
    emostack demo                            the whole job, on a corpus it makes itself
    emostack reproduce emodb --audio DIR     the paper's experiment
    """


for verb in (
    whole.demo,
    whole.reproduce,
    corpus.corpora,
    corpus.manifest,
    corpus.check,
    features.extract,
    corpus.preview,
    training.train,
    training.report,
    training.predict,
    features.export,
    features.store,
    machine.doctor,
):
    emostack.add_command(verb)


def main() -> NoReturn:
    """Run the command line and exit with the contract's status."""
    signal.signal(signal.SIGTERM, _interrupt)
    session = Session()
    try:
        status = emostack.main(obj=session, standalone_mode=False, auto_envvar_prefix="EMOSTACK")
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; everything written so far is whole", err=True)
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes one line
        if session.debug:
            traceback.print_exc()
        click.echo(click.style("error: ", fg="red") + one_line(error), err=True)
        sys.exit(LOCKED if isinstance(error, LockedError) else 1)
    sys.exit(status or 0)


def one_line(error: Exception) -> str:
    """Say an error in one line; one that is not of this project's making says so."""
    if getattr(error, "problems", ()):  # a listing: all of a manifest's mistakes at once
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " | ".join(lines) or type(error).__name__
    is_ours = type(error).__module__.partition(".")[0] in PACKAGES
    if is_ours or isinstance(error, OSError):
        return text
    return f"{type(error).__name__}: {text}; this is a defect, please report it with --debug"


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
