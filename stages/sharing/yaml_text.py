"""Plain values as YAML: the little of it that headers of formats need."""

import re
from collections.abc import Iterator, Mapping, Sequence

Value = str | int | bool | None | Sequence["Value"] | Mapping[str, "Value"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
"""What YAML 1.1 does not read as text."""


def to_yaml(value: Mapping[str, Value]) -> str:
    r"""Write a mapping as YAML in block style; YAML 1.1 and 1.2 read it alike.

    A text that could be read as anything else is quoted, and what does not print is escaped: no line
    of the result is broken but by ``\n``.

    Parameters
    ----------
    value : texts, whole numbers, truth values, None, and lists and mappings of them; keys of at most
        1000 characters

    Examples
    --------
    >>> print(to_yaml({"language": ["de", "no"], "m": {"a: b": 2, "c": []}}), end="")
    language:
      - de
      - "no"
    m:
      "a: b": 2
      c: []
    """
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Value) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if isinstance(inner, Mapping | list | tuple) and inner:
                yield f"{_text(key)}:"
                yield from (f"  {line}" for line in _lines(inner))
            else:
                yield f"{_text(key)}: {_scalar(inner)}"
    elif isinstance(value, list | tuple) and value:
        for inner in value:
            mark = "- "
            for line in _lines(inner):
                yield mark + line
                mark = "  "
    else:
        yield _scalar(value)


def _scalar(value: Value) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, Sequence):
        return "[]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(map(_character, text)) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
