"""What to know of a corpus before one trains on it: whatever folds and normalisation trip over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports.text import clip, count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FEW_UTTERANCES = 10
"""A speaker with fewer cannot be normalised by (`stages.predict.MIN_UTTERANCES`); the recall of an
emotion with fewer says little."""

N_NAMED = 5
"""How many names a caution gives."""

LONGEST_NAME = 40
"""Characters of a name that are shown."""


def cautions(overview: Mapping[str, Any]) -> list[str]:
    """Say what stands between a corpus and an honest training, one line each.

    Parameters
    ----------
    overview : the counts of `stages.checking.overview.overview`
    """
    return [
        *_unknown(overview),
        *_about_speakers(overview["speakers"]),
        *_about_emotions(overview["emotions"], overview["n_speakers"]),
    ]


def _unknown(overview: Mapping[str, Any]) -> Iterator[str]:
    n_emotions, n_speakers = overview["n_unknown_emotions"], overview["n_unknown_speakers"]
    for n, words in ((n_emotions, "without an emotion"), (n_speakers, "without a speaker")):
        if n:
            them = "it" if n == 1 else "them"
            yield f"{count(n, 'utterance')} {words}: training refuses {them}"


def _about_speakers(speakers: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if len(speakers) < 2:
        yield f"{count(len(speakers), 'known speaker')}: folds by speaker need two at least"
    few = [one for one in speakers if one["n_utterances"] < FEW_UTTERANCES]
    if few:
        names = _some([f"{_name(one)} {one['n_utterances']}" for one in few])
        yield (
            f"{count(len(few), 'speaker')} with fewer than {FEW_UTTERANCES} utterances ({names}): "
            f"normalisation by speaker needs {FEW_UTTERANCES} of each"
        )
    torn = [one for one in speakers if len(one["genders"]) > 1]
    if torn:
        names = _some([f"{_name(one)} {' and '.join(one['genders'])}" for one in torn])
        yield f"{count(len(torn), 'speaker')} with more than one gender ({names})"


def _about_emotions(emotions: Sequence[Mapping[str, Any]], n_speakers: int) -> Iterator[str]:
    lonely = [one for one in emotions if one["n_speakers"] == 1 and n_speakers > 1]
    if lonely:
        names = _some([_name(one) for one in lonely])
        yield (
            f"{count(len(lonely), 'emotion')} of a single speaker ({names}): the fold that leaves "
            "this speaker out has nothing to learn it from"
        )
    few = [one for one in emotions if one["n_utterances"] < FEW_UTTERANCES]
    if few:
        names = _some([f"{_name(one)} {one['n_utterances']}" for one in few])
        yield (
            f"{count(len(few), 'emotion')} with fewer than {FEW_UTTERANCES} utterances ({names}): "
            f"{'its' if len(few) == 1 else 'their'} recall will say little"
        )


def _name(one: Mapping[str, Any]) -> str:
    return repr(clip(one["name"], LONGEST_NAME))


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - N_NAMED:,} more"] if len(names) > N_NAMED else []
    return ", ".join([*names[:N_NAMED], *more])
