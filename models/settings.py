"""Settings from plain mappings (TOML, JSON): strict, and every mistake named.

Conventions
-----------
A setting that joins a dataclass whose ids and files are already out there is made by `later`: where it
has its default, which means what was done before, it is left out, so that nothing made earlier changes.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")

_LATER = "later"

MAX_DIGITS = 20
"""Of a whole number in a file that nobody vouches for: 64 bits and a sign."""


class SettingsError(ValueError):
    """A setting is unknown, missing or of the wrong type."""


def later(default: T) -> T:
    """Declare a setting that was not there from the start; its default must never change."""
    made: T = dataclasses.field(default=default, metadata={_LATER: True})
    return made


def from_mapping(
    kind: type[T], mapping: Mapping[str, Any], *, where: str = "", complete: bool = False
) -> T:
    """Build a settings dataclass, nested ones too, from a mapping.

    Parameters
    ----------
    kind : a frozen dataclass of str, int, float, bool, Literal, tuples of those, and dataclasses
    mapping : names and values; what is left out keeps its default
    where : dotted place of the mapping, for messages
    complete : refuse a mapping that leaves something out, other than settings of `later`

    Returns
    -------
    kind
        Lists have become tuples, and whole numbers floats where floats are declared.

    Raises
    ------
    SettingsError
        A name is unknown (the nearest known one is given) or missing, or a value has the wrong
        type.
    """
    hints = get_type_hints(kind)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    names = [field.name for field in fields]
    needed = [field.name for field in fields if complete and _LATER not in field.metadata]
    missing = [name for name in needed if name not in mapping]
    if missing:
        message = f"{kind.__name__} lacks the settings {', '.join(missing)}; expected all of them"
        raise SettingsError(message)
    values = {}
    for name, value in mapping.items():
        place = f"{where}.{name}" if where else name
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
            message = f"{_shown(place)} is not a setting; {hint}"
            raise SettingsError(message)
        values[name] = _convert(hints[name], value, place, complete=complete)
    return kind(**values)


def to_mapping(settings: object) -> dict[str, Any]:
    """Return a settings dataclass as plain dicts, lists and scalars, defaults included.

    A setting that was declared by `later` is left out where it has its default.
    """
    plain = {}
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if _LATER not in field.metadata or value != field.default:
            plain[field.name] = _plain(value)
    return plain


def parse_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read one JSON object from a file that nobody vouches for.

    Raises
    ------
    SettingsError
        Too large, not UTF-8, not JSON, nested too deep, numbers that are not finite or have too
        many digits, a key twice, not an object.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SettingsError(f"{path.name} is larger than {max_bytes} bytes")
    try:
        document = json.loads(
            data.decode("utf-8"),
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_int,
            object_pairs_hook=_once_each,
        )
    except SettingsError:
        raise
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise SettingsError(f"{path.name} holds a {type(document).__name__}; expected an object")
    return document


def _refuse_constant(text: str) -> None:
    raise SettingsError(f"{text} is not a finite number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise SettingsError(f"{_shown(text)} is not a finite number")
    return value


def _short_int(text: str) -> int:
    """Refuse what is too long before it is converted, which takes long, too."""
    if len(text) > MAX_DIGITS:
        raise SettingsError(f"a whole number has {len(text)} digits; expected {MAX_DIGITS} at most")
    return int(text)


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise SettingsError("an object has a key twice")
    return result


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a settings field holds
    if dataclasses.is_dataclass(value):
        return to_mapping(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _convert(kind: Any, value: Any, place: str, *, complete: bool) -> Any:  # noqa: ANN401 - types are data here
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return from_mapping(cast("type[Any]", kind), value, where=place, complete=complete)
    if get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = get_args(kind)
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            return tuple(
                _convert(k, v, f"{place}[{i}]", complete=complete)
                for i, (k, v) in enumerate(zip(inner, value, strict=True))
            )
    if kind is float and type(value) is int and abs(value) < 10**MAX_DIGITS:
        return float(value)
    if type(value) is kind or (get_origin(kind) is Literal and value in get_args(kind)):
        return value
    expected = kind.__name__ if isinstance(kind, type) else str(kind)
    if get_origin(kind) is Literal:
        expected = f"one of {', '.join(get_args(kind))}"
    raise SettingsError(f"{place!r} is {_shown(value)}; expected {expected}")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
