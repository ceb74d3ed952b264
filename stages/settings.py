"""Settings from plain mappings (TOML, JSON): strict, and every mistake named."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(ValueError):
    """A setting is unknown or of the wrong type."""


def from_mapping(kind: type[T], mapping: Mapping[str, Any], *, where: str = "") -> T:
    """Build a settings dataclass, nested ones too, from a mapping.

    Parameters
    ----------
    kind : a frozen dataclass of str, int, float, bool, tuples of those, and such dataclasses
    mapping : names and values; what is left out keeps its default
    where : dotted place of the mapping, for messages

    Returns
    -------
    kind
        Lists have become tuples, and whole numbers floats where floats are declared.

    Raises
    ------
    SettingsError
        A name is unknown (the nearest known one is given) or a value has the wrong type.
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    values = {}
    for name, value in mapping.items():
        place = f"{where}.{name}" if where else name
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
            message = f"{place!r} is not a setting; {hint}"
            raise SettingsError(message)
        values[name] = _convert(hints[name], value, place)
    return kind(**values)


def to_mapping(settings: object) -> dict[str, Any]:
    """Return a settings dataclass as plain dicts, lists and scalars, defaults included."""
    plain: dict[str, Any] = _plain(dataclasses.asdict(settings))  # type: ignore[call-overload]
    return plain


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever a settings field holds
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _convert(kind: Any, value: Any, place: str) -> Any:  # noqa: ANN401 - types are data here
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return from_mapping(typing.cast("type[Any]", kind), value, where=place)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind in (str, int, bool) and type(value) is kind:
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
        inner = typing.get_args(kind)
        if inner[-1] is Ellipsis:
            inner = (inner[0],) * len(value)
        if len(inner) == len(value):
            return tuple(
                _convert(k, v, f"{place}[{i}]")
                for i, (k, v) in enumerate(zip(inner, value, strict=True))
            )
    expected = kind.__name__ if isinstance(kind, type) else str(kind)
    if isinstance(kind, types.GenericAlias):
        expected = str(kind)
    message = f"{place!r} is {value!r}; expected {expected}"
    raise SettingsError(message)
