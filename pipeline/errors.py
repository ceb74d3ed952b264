"""How a command ends: exit statuses, and an error in one line.

Exit status: 0 done; 1 an error; 2 wrong usage; 3 done, but files were newly quarantined; 4 another
run holds the lock; 130 interrupted, everything written so far whole.
"""

from features_cache.lock import LockedError
from pipeline.workdir import PACKAGES

FAILED, QUARANTINED, LOCKED, INTERRUPTED = 1, 3, 4, 130


def exit_status(error: BaseException) -> int:
    """Exit status of a command that an error ended."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    return LOCKED if isinstance(error, LockedError) else FAILED


def one_line(error: BaseException) -> str:
    """Say an error in one line; one that is not of this project's making says so."""
    if getattr(error, "problems", ()):  # a listing: all of a manifest's mistakes at once
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = " | ".join(lines) or type(error).__name__
    is_ours = type(error).__module__.partition(".")[0] in PACKAGES
    if is_ours or isinstance(error, OSError):
        return text
    return f"{type(error).__name__}: {text}; this is a defect, please report it with --debug"
