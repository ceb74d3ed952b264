"""The header of an audformat database: what its tables and their columns are."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from stages.sharing import headers
from stages.sharing.content import Content
from stages.sharing.rights import Terms, terms_of
from stages.sharing.yaml_text import Value, to_yaml

_TEXTS = ("utterance_id", "corpus", "speaker", "session")


def header(
    content: Content, *, files: Iterable[str], is_filewise: bool, features: Sequence[str]
) -> str:
    """Write ``db.yaml``.

    Parameters
    ----------
    content : what the tables are of
    files : names of the recordings
    is_filewise : every utterance is a whole file
    features : names of the tables of features
    """
    terms = terms_of(content.manifest["corpus"])
    licence = headers.licence(terms)
    return to_yaml(
        {
            "name": "-".join([*(each.corpus for each in terms if each.corpus), "features"]),
            "source": "; ".join(each.citation or each.corpus or "recordings" for each in terms),
            "usage": _usage(terms),
            "languages": [headers.ISO_639_3.get(code, code) for code in headers.languages(terms)],
            **({"license": licence} if licence else {}),
            "description": "Features for speech emotion recognition; README.md says how they were "
            "made. No audio is in here.",
            "media": {"recordings": {"type": "audio", **_suffix(files)}},
            "schemes": _schemes(content),
            "tables": _tables(content, features, is_filewise=is_filewise),
            **content.origin(),
        }
    )


def _usage(terms: Sequence[Terms]) -> str:
    """Promise nothing beyond research: what a licence allows beyond it, the licence says."""
    is_forbidden = any(each.sharing == "forbidden" for each in terms)
    return "restricted" if is_forbidden else "research"


def _suffix(files: Iterable[str]) -> dict[str, str]:
    suffixes = {PurePosixPath(file).suffix.lower() for file in files}
    suffix = suffixes.pop() if len(suffixes) == 1 else ""
    return {"format": suffix[1:]} if suffix else {}


def _schemes(content: Content) -> dict[str, Value]:
    genders = sorted(set(content.manifest["gender"]) - {""})
    return {
        "emotion": {"dtype": "str", "labels": [name for name in content.labels if name]},
        "gender": {"dtype": "str", "labels": genders},
        **{name: {"dtype": "str"} for name in _TEXTS},
        "feature": {"dtype": "float"},
    }


def _tables(content: Content, features: Sequence[str], *, is_filewise: bool) -> dict[str, Value]:
    of_files = "filewise" if is_filewise else "segmented"
    numbers = dict.fromkeys(content.feature_names, "feature")
    return {
        "emotion": _table(of_files, {"emotion": "emotion"}),
        "files": _table(of_files, {name: name for name in (*_TEXTS, "gender")}),
        "segments": _table("segmented", {"utterance_id": "utterance_id"}),
        **{name: _table("segmented", numbers) for name in features},
    }


def _table(kind: str, columns: dict[str, str]) -> dict[str, Value]:
    schemes = {name: {"scheme_id": scheme} for name, scheme in columns.items()}
    return {"type": kind, "media_id": "recordings", "columns": schemes}
