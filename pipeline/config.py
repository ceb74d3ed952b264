"""``--config FILE.toml``: any option of the command line, from a file.

Conventions
-----------
A key is the long name of an option, with ``-`` or ``_``; a table is a verb. A key sets the option
of its own verb, and one that stands above the tables sets every verb that has such an option; the
nearer one wins::

    workdir = "/data/emostack"  # every verb that has --workdir
    quiet = true

    [extract]
    workers = 4

    [store.verify]
    full = true

Types are strict, as TOML has them: a whole number may stand for a number, nothing else is
converted, an option that may be repeated takes a list. A relative path is relative to the current
folder, as it is on the command line, not to the file's folder. Nothing is looked up on disk.

What was read becomes click's ``default_map``. So a flag beats an environment variable, which beats
the file, which beats the default.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

Defaults = dict[str, object]


class ConfigError(ValueError):
    """A configuration file that cannot be read, or that says something no verb understands."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The file, for messages that name it and the line."""

    path: Path
    text: str

    def error(self, keys: tuple[str, ...], message: str) -> ConfigError:
        return ConfigError(f"{self.path} line {_line_of(self.text, keys)}: {message}")


@dataclass(frozen=True, slots=True)
class _Setting:
    """A value, and the keys that lead to it, spelled as in the file."""

    keys: tuple[str, ...]
    value: object


def read_config(path: Path, root: click.Command) -> Defaults:
    """Read a TOML file as the defaults of a tree of commands.

    Parameters
    ----------
    path
        The file, UTF-8.
    root
        The top of the command tree. Eager options (``--help``, ``--config``) cannot be set.

    Returns
    -------
    A ``default_map`` for the context of ``root``, nested by verb, values not yet converted.

    Raises
    ------
    ConfigError
        In one line: the file cannot be read or is not TOML; or a key or table that is unknown (with
        its line and the nearest valid name), that stands twice in two spellings, or whose value has
        a wrong type or lies out of range (with its line and what was expected).
    """
    try:
        text = path.read_bytes().decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path} line {line}: a byte that is not UTF-8, which TOML is") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error
    return _defaults(_Source(path, text), root, _Setting((), table), {})


def use_config(context: click.Context, _option: click.Parameter, value: Path | None) -> None:
    """Apply a file to a command and those above it: the callback of an eager ``--config``.

    It may be an option of the root, of a verb, or of both; of two files, the one nearer to the verb
    counts alone.
    """
    if value is None:
        return
    lineage = [context]
    while (parent := lineage[0].parent) is not None:
        lineage.insert(0, parent)
    defaults = read_config(value, lineage[0].command)
    for each in lineage:
        if each.parent is not None:
            below = defaults.get(each.info_name or "")
            defaults = below if isinstance(below, dict) else {}
        each.default_map = defaults


def _defaults(
    source: _Source, command: click.Command, table: _Setting, inherited: Mapping[str, _Setting]
) -> Defaults:
    """Sort one table into options and verbs, and go down into the verbs."""
    own, tables = _sorted(source, command, table)
    settings = {**inherited, **own}
    result: Defaults = {}
    for name, option in _options(command).items():
        if name in settings and option.name is not None:
            setting = settings[name]
            _check(source, setting, command, option)
            is_one = option.multiple and not isinstance(setting.value, list)
            result[option.name] = [setting.value] if is_one else setting.value
    for name, verb in _subcommands(command).items():
        below = _defaults(source, verb, tables.get(_plain(name), _Setting((), {})), settings)
        if below:
            result[name] = below
    return result


def _sorted(
    source: _Source, command: click.Command, table: _Setting
) -> tuple[dict[str, _Setting], dict[str, _Setting]]:
    """Options and tables of verbs, by plain name, out of one table of the file."""
    if not isinstance(table.value, dict):
        message = f"{table.keys[-1]!r} is a verb: expected a table, found {_described(table.value)}"
        raise source.error(table.keys, message)
    options, verbs = _reachable(command), _verbs(command)
    settings: dict[str, _Setting] = {}
    tables: dict[str, _Setting] = {}
    for key, value in table.value.items():
        name, setting = _plain(key), _Setting((*table.keys, key), value)
        if name in settings or name in tables:
            raise source.error(setting.keys, f"{key!r} stands here twice, with '-' and with '_'")
        if name in verbs and (isinstance(value, dict) or name not in options):
            tables[name] = setting
        elif name in options:
            settings[name] = setting
        else:
            raise source.error(setting.keys, _unknown(key, table.keys, options | verbs))
    return settings, tables


def _unknown(key: str, above: tuple[str, ...], valid: set[str]) -> str:
    where = f" of [{'.'.join(above)}]" if above else ""
    nearest = difflib.get_close_matches(_plain(key).lower(), sorted(valid), n=1, cutoff=0.0)
    hint = f"the nearest valid name is {nearest[0]!r}" if nearest else "nothing can be set there"
    return f"unknown key {key!r}{where}; {hint}"


def _check(
    source: _Source, setting: _Setting, command: click.Command, option: click.Option
) -> None:
    """Refuse a value that the option would not take."""
    problem = _problem(option, setting.value)
    if problem is not None:
        flag = f"--{_long_name(option)} of {command.name!r}"
        raise source.error(setting.keys, f"{'.'.join(setting.keys)} is {flag}: {problem}")


def _problem(option: click.Option, value: object) -> str | None:
    """Say what is wrong with a value for an option, `None` where nothing is."""
    kinds = option.type.types if isinstance(option.type, click.Tuple) else [option.type]
    if option.nargs > 1 and len(kinds) == 1:
        kinds = [kinds[0]] * option.nargs
    shape = _name_of(kinds[0]) if option.nargs == 1 else f"a list of {len(kinds)} values"
    # One value is a list of one, so that a verb that takes several shares a key with one that takes one.
    for item in value if option.multiple and isinstance(value, list) else [value]:
        parts = [item] if option.nargs == 1 else item
        if not isinstance(parts, list) or len(parts) != len(kinds):
            return f"expected {shape}; found {_described(item)}"
        for kind, part in zip(kinds, parts, strict=True):
            if (problem := _mismatch(kind, part)) is not None:
                return problem
    return None


def _mismatch(kind: "click.ParamType[Any]", value: object) -> str | None:
    """Say why a single value is not of a click type, `None` where it is."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    name = _name_of(kind)
    fits = {
        "a whole number": is_number,
        "a number": is_number or isinstance(value, float),
        "true or false": isinstance(value, bool),
        "text": isinstance(value, str),
    }[name]
    if not fits:
        choices = (
            f" ({', '.join(map(str, kind.choices))})" if isinstance(kind, click.Choice) else ""
        )
        return f"expected {name}{choices}; found {_described(value)}"
    # Paths are left to the verb that uses them: a table for `predict` says nothing about `extract`.
    if not isinstance(kind, click.Path | click.File):
        try:
            kind.convert(value, None, None)
        except click.BadParameter as error:
            return " ".join(error.message.split())
    return None


def _name_of(kind: "click.ParamType[Any]") -> str:
    """Name in words the TOML type that a click type takes."""
    if isinstance(kind, click.types.IntParamType):
        return "a whole number"
    if isinstance(kind, click.types.FloatParamType):
        return "a number"
    return "true or false" if isinstance(kind, click.types.BoolParamType) else "text"


def _described(value: object) -> str:
    """Name a TOML value and its type, short enough for a message."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {value if len(value) <= 40 else value[:37] + '...'!r}"
    return f"the number {value}" if isinstance(value, int | float) else f"the date {value}"


def _options(command: click.Command) -> dict[str, click.Option]:
    """Give the options of one command that a file may set, by plain long name."""
    options = (each for each in command.params if isinstance(each, click.Option))
    return {_plain(_long_name(each)): each for each in options if not each.is_eager}


def _reachable(command: click.Command) -> set[str]:
    """Name the options of a command and of all verbs below it."""
    return set(_options(command)).union(*map(_reachable, _subcommands(command).values()))


def _verbs(command: click.Command) -> set[str]:
    return set(map(_plain, _subcommands(command)))


def _subcommands(command: click.Command) -> dict[str, click.Command]:
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: verb for name, verb in found.items() if verb is not None}


def _long_name(option: click.Option) -> str:
    """Give the name behind ``--``, or the parameter's where there is a short one only."""
    return next((each[2:] for each in option.opts if each.startswith("--")), option.name or "")


def _plain(name: str) -> str:
    """Spell a name one way, whether it came with ``-`` or with ``_``."""
    return name.replace("_", "-")


def _line_of(text: str, keys: tuple[str, ...]) -> int:
    """Find the line, from 1, of the statement that first names a key.

    The first lines of a TOML document are a document themselves exactly where no statement is cut
    in two. So the parser itself finds the statement, whatever its strings and brackets hold: it
    begins after the longest beginning that is a document without the key.
    """
    lines = text.split("\n")
    begin = 1
    for count in range(1, len(lines) + 1):
        try:
            table: object = tomllib.loads("\n".join(lines[:count]) + "\n")
        except tomllib.TOMLDecodeError:
            continue
        for key in keys:
            table = table.get(key) if isinstance(table, dict) else None
        if table is not None:
            break
        begin = count + 1
    return begin
