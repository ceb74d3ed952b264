"""Names that say nothing: salted digests in place of speakers, utterances, files and keys.

A digest is the first 16 hexadecimal digits of HMAC-SHA256 (RFC 2104) under a salt that stays with
whoever exports: who has it can tell again who is who, and gets the same names next time.

What this hides is names, from those who have no recordings. Whoever has the recordings makes the same
features and finds each row again; so does whoever has an export of them with names. Voices can be
recognised by features. The data card says so, and what stays: corpus, gender, emotion, features.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features_cache.atomic import atomic_write
from stages.sharing.content import Content

SALT_DIGITS = 64
_MARKS = {"utterance_id": "u", "file": "f", "speaker": "s", "session": "g"}


class SaltError(ValueError):
    """The salt is not whole."""


def read_salt(path: Path) -> bytes:
    """Read the salt of a workdir; make one, readable by its owner alone, where there is none.

    Raises
    ------
    SaltError
        The file does not hold what was written into it: names made with less could be guessed.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Of two exports that come first at once, both take the salt of the one that was quicker.
        with suppress(FileExistsError), atomic_write(path, exclusive=True) as partial:
            partial.touch(mode=0o600)
            partial.write_text(secrets.token_hex(SALT_DIGITS // 2) + "\n", encoding="ascii")
    salt = path.read_bytes().strip()
    if len(salt) < SALT_DIGITS:
        message = (
            f"{path} holds {len(salt)} characters; expected {SALT_DIGITS}; restore the file, or "
        )
        raise SaltError(message + "delete it: names will then differ from those of earlier exports")
    return salt


def anonymised(content: Content, salt: bytes) -> Content:
    """Replace every name that could say who speaks; order the utterances by their new names.

    Equal speakers of one corpus keep equal names, so that folds by speaker can still be made; equal
    names in two corpora become different ones. Where in its file an utterance is, is left out. What
    is empty stays empty.
    """
    rows = content.manifest
    names = {column: _names(rows, column, salt) for column in _MARKS}
    manifest = rows.assign(**names, start=0.0, end=np.nan)
    order = np.argsort(manifest["utterance_id"].to_numpy(object), kind="stable")
    keys = _texts(_digest(salt, "key", key) for key in content.keys)
    return replace(
        content,
        manifest=manifest.iloc[order].reset_index(drop=True),
        keys=keys.iloc[order].reset_index(drop=True),
        n_rows=content.n_rows[order],
        stack=lambda number: content.stack(int(order[number])),
    )


def _names(rows: pd.DataFrame, column: str, salt: bytes) -> pd.Series:
    mark = _MARKS[column]
    return _texts(
        f"{mark}{_digest(salt, column, corpus, name)[:16]}" if name else ""
        for corpus, name in zip(rows["corpus"], rows[column], strict=True)
    )


def _texts(texts: Iterable[str]) -> pd.Series:
    """Put texts into a column as they come: as objects, a million of them cost 100 MB."""
    return pa.array(texts, pa.large_string()).to_pandas()


def _digest(salt: bytes, *words: str) -> str:
    # A zero byte parts the words: no manifest holds one, so no two lists give one text.
    text = "\0".join(words).encode("utf-8", "surrogatepass")
    return hmac.new(salt, text, hashlib.sha256).hexdigest()
