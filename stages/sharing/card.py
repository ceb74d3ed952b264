"""The facts of a data card: counted, not told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.networks import network_entry
from stages.folds import speaker_names
from stages.frontend.logmel import FrontEnd
from stages.recipe import RECIPES, Recipe, without_sha256
from stages.sharing.content import Content
from stages.sharing.format import Format
from stages.sharing.rights import Terms
from stages.sharing.tally import Tally

SHARING = {
    "free": "yes, under that licence",
    "forbidden": "no",
    "unclear": "not stated: ask its owner",
}
FLOAT16_STEP = 2.0**-11
"""Largest relative error of rounding to float16, for normal numbers (IEEE 754: 11 bits)."""

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a card says beside the content.

    Attributes
    ----------
    version : of emostack
    format : what was written
    terms : of the corpora in it
    beside : name and words of the files that go with it
    splits : why there are no split files; empty where there are
    n_left_out : utterances of the manifest whose audio gave no features
    is_anonymous : names are salted digests
    """

    version: str
    format: Format
    terms: Sequence[Terms]
    beside: Sequence[tuple[str, str]]
    splits: str
    n_left_out: int
    is_anonymous: bool


def card_facts(content: Content, tally: Tally, said: Circumstances) -> dict[str, Any]:
    """Count what `reports.data_card.data_card` says.

    Parameters
    ----------
    content : what was written
    tally : full, since everything was read
    said : what else there is to say
    """
    rows = content.manifest
    speakers = pd.Series(speaker_names(rows)).mask(rows["speaker"] == "", "")
    restricted = [each.corpus for each in said.terms if each.sharing == "forbidden"]
    return {
        "title": f"Features of {', '.join(t.corpus or 'recordings' for t in said.terms)}",
        "version": said.version,
        "is_restricted": bool(restricted),
        "restricted": restricted,
        "n_utterances": content.n_utterances,
        "n_speakers": len(set(speakers) - {""}),
        "n_unknown_speakers": int((speakers == "").sum()),
        "n_left_out": said.n_left_out,
        "seconds": float(tally.seconds.sum()),
        "n_rows": int(content.n_rows.sum()),
        "rows_are": content.rows_are,
        "feature_dim": content.feature_dim,
        "numbers": _numbers(content, said.format),
        "emotions": _groups(rows["emotion"], speakers, tally.seconds),
        "genders": _groups(rows["gender"], speakers, tally.seconds),
        "files": said.format.files,
        "snippet": said.format.snippet,
        "beside": said.beside,
        "recipe": _recipe(content),
        "rounding": _rounding(content, tally),
        "limits": list(_limits(content, said)),
        "corpora": [_corpus(terms, rows) for terms in said.terms],
        "weights_licence": _weights_licence(content.recipe),
    }


def formula_cells(manifest: pd.DataFrame) -> list[str]:
    """Names that a spreadsheet would run as a formula; see OWASP, CSV injection."""
    texts = [name for name in manifest if name not in ("start", "end")]
    return sorted({cell for name in texts for cell in _formulas(manifest[name])})


def _formulas(names: pd.Series) -> pd.Series:
    return names[names.str.startswith(_FORMULAS)]


def formula_remark(manifest: pd.DataFrame) -> str:
    """Say how many names begin like a formula, and name the first; nothing where none does."""
    cells = formula_cells(manifest)
    begin = "name begins" if len(cells) == 1 else "names begin"
    return f"{len(cells)} {begin} like a formula (first: {cells[0]!r})." if cells else ""


def _groups(
    names: pd.Series, speakers: pd.Series, seconds: NDArray[np.float64]
) -> list[dict[str, Any]]:
    table = pd.DataFrame({"name": names, "speaker": speakers, "seconds": seconds})
    return [
        {
            "name": name,
            "n": len(group),
            "n_speakers": len(set(group["speaker"]) - {""}),
            "seconds": float(group["seconds"].sum()),
        }
        for name, group in table.groupby("name", sort=True)
    ]


def _corpus(terms: Terms, rows: pd.DataFrame) -> dict[str, Any]:
    return {
        "name": terms.corpus,
        "n": int((rows["corpus"] == terms.corpus).sum()),
        "language": terms.language,
        "licence": terms.licence,
        "sharing": SHARING[terms.sharing],
        "citation": terms.citation,
    }


def _recipe(content: Content) -> list[tuple[str, str]]:
    recipe = content.recipe
    network, segments = recipe.network, recipe.segments
    named = [name for name, known in RECIPES.items() if known == without_sha256(recipe)]
    hop_s = recipe.frontend.hop_s
    length = (
        f"{segments.n_frames} frames ({segments.n_frames * hop_s:.3g} s) every "
        f"{segments.shift_frames} ({segments.shift_frames * hop_s:.3g} s)"
    )
    return [
        ("recipe", f"{named[0]} ({recipe.recipe_id})" if named else recipe.recipe_id),
        ("store snapshot", str(content.snapshot)),
        ("network", f"{network.network}, frozen, {network.input_size} pixels, {network.precision}"),
        ("weights", f"{network.weights}, sha256 {network.weights_sha256}"),
        ("layers", f"{', '.join(network.layers)}; pooling {network.pooling}"),
        ("features", _order(network.pooling)),
        ("log-Mel", _log_mel(recipe.frontend)),
        ("channels", f"static, delta, delta-delta ({segments.delta_width} frames)"),
        ("segments", f"{length}; last: {segments.last}; short: {segments.short}"),
        ("normalisation of features", "none: whoever trains normalises, on training speakers"),
        ("kept as", recipe.dtype),
    ]


def _order(pooling: str) -> str:
    """Say what feature f0, f1, ... is; see `models.frozen_cnn`."""
    within = {
        "average": "in each the mean of every channel",
        "flatten": "in each rows (low to high frequency), columns (time), channels",
    }.get(pooling, "in each band after band from low to high frequency; in a band every channel")
    return f"numbered from 0: layer after layer as above; {within}"


def _numbers(content: Content, format_: Format) -> str:
    kept = content.dtype.name
    if format_.numbers in ("", kept):
        return kept
    return f"{format_.numbers} in the files, which holds every {kept} as it is"


def _log_mel(frontend: FrontEnd) -> str:
    windows = f"{1000 * frontend.window_s:g} ms {frontend.window} windows"
    return (
        f"{frontend.n_mels} bands, {frontend.fmin_hz:g} to {frontend.fmax_hz:g} Hz, {windows} every "
        f"{1000 * frontend.hop_s:g} ms at {frontend.sample_rate} Hz, scaling {frontend.scaling}"
    )


def _rounding(content: Content, tally: Tally) -> str:
    if content.recipe.dtype != "float16":
        return f"The store keeps features as the network gave them (float32). {_export_rounds(content)}"
    # Half a unit in the last place of the largest value; below 2^-14 the units shrink no further.
    step = FLOAT16_STEP * 2.0 ** np.floor(np.log2(max(tally.largest, 2.0**-14)))
    return (
        "The store keeps features as float16, rounded from float32: a relative error of at most "
        f"2^-11 (4.9e-4; below 6.1e-5 an absolute one of 3e-8), and in this data, whose values reach "
        f"{tally.largest:.4g}, an absolute one of at most {step:.2g}. " + _export_rounds(content)
    )


def _export_rounds(content: Content) -> str:
    if content.rows_are == "segment":
        return "The export itself rounds nothing."
    return "Means and deviations are computed of the stored values in float64 and kept as float32."


def _limits(content: Content, said: Circumstances) -> Iterable[str]:
    yield (
        "Features of one recipe fit together; features of two recipes do not. recipe.toml makes the "
        "same ones again from the recordings, up to the last bits on another machine or engine."
    )
    if said.splits:
        yield f"Train and test on different speakers. There are no split files: {said.splits}."
    else:
        yield "Train and test on different speakers; splits.csv does."
    if content.recipe.has_random_weights:
        yield "The network's weights are random: it has learned nothing. For trying out only."
    if said.is_anonymous:
        yield (
            "Names of utterances, files, speakers and sessions are salted digests, and times in the "
            "files are left out. This hides names from those who have no recordings: whoever has them "
            "can make the same features and find each row again, and features tell speakers apart."
        )
    else:
        yield "Names are those of the recordings; features can tell speakers apart."
    remark = formula_remark(content.manifest)
    if remark:
        yield f"{remark} Open the files as data, not in a spreadsheet that runs formulas."


def _weights_licence(recipe: Recipe) -> str:
    weights = recipe.network.weights
    if weights != "imagenet":
        return f"{weights}, not a published file"
    licence = network_entry(recipe.network.network).weights_licence
    return f"{licence} (ImageNet, as Keras Applications distributes them)"
