"""``emostack``: the command line. Verbs import what they need when they run, so help comes at once.

``pipeline.errors`` lists the exit statuses.
"""

import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

import click

from pipeline import __version__
from pipeline.errors import INTERRUPTED, exit_status, one_line
from pipeline.session import Session
from pipeline.verbs import corpus, features, machine, stores, training, whole


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
    whole.nightly,
    corpus.corpora,
    corpus.manifest,
    corpus.check,
    features.extract,
    corpus.preview,
    training.train,
    training.report,
    training.compare,
    training.predict,
    features.export,
    features.import_,
    stores.store,
    machine.doctor,
):
    emostack.add_command(verb)


def main() -> NoReturn:
    """Run the command line and exit with the contract's status."""
    # Before pyarrow is imported: its own pool keeps what a million rows once took.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
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
        status = INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes one line
        if session.debug:
            traceback.print_exc()
        click.echo(click.style("error: ", fg="red") + one_line(error), err=True)
        sys.exit(exit_status(error))
    if status == INTERRUPTED:
        click.echo("interrupted; everything written so far is whole", err=True)
    sys.exit(status or 0)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
