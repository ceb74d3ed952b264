"""Recipes: everything that decides a feature's value, and nothing else.

A recipe composes the settings of the rooms below. Its id is a hash over all of it, defaults and the
weights' SHA-256 included, so that a changed default can never pass for the old features. How a
recipe is run (workers, batch size, engine) is not in it.
"""

import dataclasses
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.networks import NetworkSettings
from models.settings import SettingsError, from_mapping, to_mapping
from models.weights import resolve as resolve_weights
from stages.frontend.logmel import FrontEnd
from stages.frontend.segments import Segments

DTYPES = ("float16", "float32")

MAX_WINDOW = 2**20
"""Values in one segment's window at most (4 MiB): a recipe may come with somebody's bundle."""


class RecipeError(ValueError):
    """A recipe cannot be found or read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides a feature's value.

    Attributes
    ----------
    frontend : audio to log-Mel
    segments : log-Mel to windows
    network : windows to features
    dtype : how features are stored, ``float16`` or ``float32``
    revision : raised by hand when code changes what the same settings give
    """

    frontend: FrontEnd = field(default_factory=FrontEnd)
    segments: Segments = field(default_factory=Segments)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    dtype: str = "float16"
    revision: int = 1

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            message = f"dtype is {self.dtype!r}; expected one of {', '.join(DTYPES)}"
            raise RecipeError(message)
        n_values = self.frontend.n_mels * self.segments.n_frames
        if n_values > MAX_WINDOW:
            message = (
                f"a segment has {n_values} values ({self.frontend.n_mels} bands x "
                f"{self.segments.n_frames} frames); expected at most {MAX_WINDOW}; take fewer"
            )
            raise RecipeError(message)
        weights = self.network.weights
        if weights.startswith("file:") and ("/" in weights or "\\" in weights):
            message = (
                f"weights are {weights!r}; expected file:NAME, a file in KERAS_HOME/models, so that "
                "every worker finds it; put the file there"
            )
            raise RecipeError(message)

    @property
    def is_resolved(self) -> bool:
        """Whether the recipe says which weights it means, byte for byte."""
        return bool(self.network.weights_sha256)

    @property
    def has_random_weights(self) -> bool:
        """Whether the network has learned nothing: its features are not worth reporting."""
        return self.network.weights.startswith("random:")

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces, everything in it."""
        return json.dumps(to_mapping(self), sort_keys=True, separators=(",", ":"))

    def to_toml(self) -> str:
        """Write everything in it as a TOML file that `load_recipe` reads back."""
        return _toml(to_mapping(self))

    @property
    def recipe_id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON.

        Raises
        ------
        RecipeError
            The weights' SHA-256 is not known yet.
        """
        if not self.is_resolved:
            message = "the recipe does not know its weights yet; resolve it before taking its id"
            raise RecipeError(message)
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()[:16]


DEFAULT = "emostack-v1"

_STATIC = ("static", "static", "static")
_LEVELS = ((-80.0, 10.0),) * 3

# Segments of 0.26 s, static log-Mel in all three channels, two middle layers.
_EMOSTACK_V1 = Recipe(
    segments=Segments(n_frames=24, shift_frames=12),
    network=NetworkSettings(
        layers=("conv_pw_5_relu", "conv_pw_7_relu"),
        channels=_STATIC,
        channel_ranges=_LEVELS,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        DEFAULT: _EMOSTACK_V1,
        # Rounder features, sooner, where OpenVINO or a GPU has bfloat16: docs/performance.md.
        "emostack-v1-bfloat16": dataclasses.replace(
            _EMOSTACK_V1,
            network=dataclasses.replace(_EMOSTACK_V1.network, precision="bfloat16"),
        ),
        # One layer, an input that need not be enlarged as much: a third of the time and bytes.
        "emostack-small-v1": Recipe(
            segments=Segments(n_frames=32, shift_frames=16),
            network=NetworkSettings(
                layers=("conv_pw_5_relu",),
                input_size=64,
                channels=_STATIC,
                channel_ranges=_LEVELS,
            ),
        ),
        # As near to the paper as a frozen network comes: its segments, channels and input size, and
        # the last layer.
        "paper-2021": Recipe(
            segments=Segments(shift_frames=30),
            network=NetworkSettings(layers=("conv_pw_13_relu",), input_size=227, pooling="average"),
        ),
        # What was the default before: longer segments with deltas, three layers.
        "mobilenet-bands-v1": Recipe(),
    }
)
"""Published recipes. A name's meaning never changes; what is better gets a new name."""


def load_recipe(name: str) -> Recipe:
    """Return a published recipe by name, or read one from a TOML file.

    Raises
    ------
    RecipeError
        There is no such name or file, or the file does not make a recipe.
    """
    if name in RECIPES:
        return RECIPES[name]
    path = Path(name)
    if path.suffix != ".toml":
        message = (
            f"no recipe is named {name!r}; expected one of {', '.join(RECIPES)} or a .toml file"
        )
        raise RecipeError(message)
    try:
        mapping = tomllib.loads(path.read_text(encoding="utf-8"))
        return from_mapping(Recipe, mapping)
    except OSError as error:
        message = f"the recipe {path} cannot be read ({error.strerror}); expected a TOML file"
        raise RecipeError(message) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, SettingsError, ValueError) as error:
        message = f"the recipe {path} is not valid: {error}"
        raise RecipeError(message) from error


def recipe_from_json(text: str) -> Recipe:
    """Read a recipe back from its canonical JSON.

    Raises
    ------
    RecipeError
        The text is not the JSON of a recipe that this version knows.
    """
    try:
        mapping: Any = json.loads(text)
        return from_mapping(Recipe, mapping)
    except (ValueError, AttributeError, RecursionError) as error:
        message = f"this recipe was not written by this version of emostack: {error}"
        raise RecipeError(message) from error


def resolve(recipe: Recipe, *, download: bool = True) -> Recipe:
    """Find the recipe's weights and put their SHA-256 into it.

    Raises
    ------
    models.weights.WeightsError
        The weights are not here and cannot be had, or are not the ones that the recipe names.
    """
    network = resolve_weights(recipe.network, download=download)
    return dataclasses.replace(recipe, network=network)


def with_random_weights(recipe: Recipe, seed: int = 0) -> Recipe:
    """Return the recipe with seeded random weights: for demonstrations without a download."""
    network = dataclasses.replace(recipe.network, weights=f"random:{seed}", weights_sha256="")
    return dataclasses.replace(recipe, network=network)


def without_sha256(recipe: Recipe) -> Recipe:
    """Return the recipe as it was before its weights were found."""
    network = dataclasses.replace(recipe.network, weights_sha256="")
    return dataclasses.replace(recipe, network=network)


def _toml(mapping: Mapping[str, Any]) -> str:
    """Write scalars, lists and one level of tables; TOML's strings and lists include JSON's."""
    tables = {name: value for name, value in mapping.items() if isinstance(value, Mapping)}
    scalars = {name: value for name, value in mapping.items() if name not in tables}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in scalars.items())
    return text + "".join(f"\n[{name}]\n{_toml(table)}" for name, table in tables.items())
