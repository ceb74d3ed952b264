"""JSON from anybody -> settings dataclasses, with every key and type checked."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

T = TypeVar("T")

MAX_UNITS = 8192
"""The largest whole number that a settings field may hold: no layer of ours is wider."""


class SettingsJsonError(ValueError):
    """JSON that is not the settings expected."""


def parse_object(path: Path, max_bytes: int) -> dict[str, Any]:
    """Read one JSON object.

    Raises
    ------
    SettingsJsonError
        Too large, not UTF-8, not JSON, NaN or infinite numbers, a key twice, not an object.
    """
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SettingsJsonError(f"{path.name} is larger than {max_bytes} bytes")
    try:
        document = json.loads(
            data.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_once_each
        )
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise SettingsJsonError(f"{path.name} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise SettingsJsonError(
            f"{path.name} holds a {type(document).__name__}; expected an object"
        )
    return document


def _refuse_constant(text: str) -> None:
    raise SettingsJsonError(f"{text} is not a finite number")


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise SettingsJsonError("an object has a key twice")
    return result


def settings_from(kind: type[T], mapping: Mapping[str, object]) -> T:
    """Build settings from a parsed JSON object; every field must be there and of its own type.

    Raises
    ------
    SettingsJsonError
        A missing or unknown key, or a value of another type than the field's.
    """
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    if set(mapping) != set(names):
        wrong = ", ".join(sorted(set(mapping) ^ set(names)))
        raise SettingsJsonError(f"{kind.__name__} has missing or unknown keys: {wrong}")
    return kind(**{name: _value(name, hints[name], mapping[name]) for name in names})


def _value(name: str, hint: Any, value: object) -> object:  # noqa: ANN401  (a type hint is anything)
    if get_origin(hint) is tuple:
        if type(value) is not list or len(value) > MAX_UNITS:
            raise SettingsJsonError(f"{name} is {_shown(value)}; expected a list")
        return tuple(_value(name, get_args(hint)[0], item) for item in value)
    if get_origin(hint) is Literal:
        if type(value) is not str or value not in get_args(hint):
            raise SettingsJsonError(
                f"{name} is {_shown(value)}; expected one of {', '.join(get_args(hint))}"
            )
        return value
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise SettingsJsonError(f"{name} is {_shown(value)}; expected {hint.__name__}")
    if type(value) is int and abs(value) > MAX_UNITS:
        raise SettingsJsonError(f"{name} is {_shown(value)}; expected at most {MAX_UNITS}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
