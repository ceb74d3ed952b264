"""The second network: a stack of segment features -> BLSTM -> attention -> DNN -> one emotion.

After Zhang et al. 2021 (doi 10.3389/fphys.2021.643202): a bidirectional LSTM reads the stack, a
learned score for each step is turned into weights by a softmax over time, the weighted sum of the
BLSTM's outputs goes through dense layers to the class probabilities.

Conventions
-----------
* Steps that only fill a batch are masked in the BLSTM and in the softmax: padding changes no
  prediction.
* Weights are drawn by NumPy from the seed, in the order of `weight_shapes`, so every backend
  starts from the same ones. One compiled program serves all folds and seeds: `reset` puts fresh
  weights into it and clears the optimizer.
* Weights travel as a dictionary name -> float32 array, never as code.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.backend import backend_name
from models.batches import in_order, pad, within
from models.quiet_keras import keras, layers, ops
from models.stacks import lengths_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.stacks import Stacks

MAX_BATCH = 4096
"""The most stacks a step: a batch is allocated whole, whoever asked for it."""

MAX_STEPS, MAX_VALUES = 64 * 512, 1 << 28
"""Stacks times segments, and those times features, of the largest batch that is predicted."""

FORGET_BIAS = 1.0
"""Start of the forget gates' bias: remember by default (Jozefowicz et al. 2015)."""


class ClassifierError(ValueError):
    """Settings, stacks or weights that do not fit the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """Shape of the network and how it is trained.

    Parameters
    ----------
    lstm_units : units of each of the two directions; 0: no BLSTM, attention reads the segments
    attention_units : units of the tanh layer under the attention score; 0: every segment counts alike
    dnn_units : units of the dense layers between attention and softmax
    dropout : share of values dropped in training, in [0, 1)
    segment_dropout : share of each stack's segments left out in training, others each time
    label_smoothing : share of the target spread over all classes, in [0, 1)
    learning_rate, weight_decay : of AdamW; the learning rate at the start
    batch_size : stacks a step, at most `MAX_BATCH`
    epochs : how often a training goes through its utterances
    """

    lstm_units: int = 128
    attention_units: int = 64
    dnn_units: tuple[int, ...] = (64,)
    dropout: float = 0.4
    segment_dropout: float = 0.3
    label_smoothing: float = 0.1
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    batch_size: int = 32
    epochs: int = 20

    def __post_init__(self) -> None:
        for name in ("lstm_units", "attention_units"):
            if getattr(self, name) < 0:
                raise ClassifierError(f"{name} is {getattr(self, name)}; expected 0 or more")
        counts = {"batch_size": self.batch_size, "epochs": self.epochs}
        counts |= {f"dnn_units[{i}]": units for i, units in enumerate(self.dnn_units)}
        for name, count in counts.items():
            if count < 1:
                raise ClassifierError(f"{name} is {count}; expected 1 or more")
        if self.batch_size > MAX_BATCH:
            raise ClassifierError(f"batch_size is {self.batch_size}; expected at most {MAX_BATCH}")
        for name in ("dropout", "segment_dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ClassifierError(
                    f"{name} is {getattr(self, name)}; expected 0 or more and less than 1"
                )
        if not self.weight_decay >= 0:
            raise ClassifierError(f"weight_decay is {self.weight_decay}; expected 0 or more")
        if not self.learning_rate > 0:
            raise ClassifierError(f"learning_rate is {self.learning_rate}; expected more than 0")


def weight_shapes(
    settings: ClassifierSettings, n_features: int, n_labels: int
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in the network's order, without building anything."""
    units = settings.lstm_units
    shapes: dict[str, tuple[int, ...]] = {}
    for direction in ("forward", "backward") if units else ():
        shapes[f"{direction}.kernel"] = (n_features, 4 * units)
        shapes[f"{direction}.recurrent_kernel"] = (units, 4 * units)
        shapes[f"{direction}.bias"] = (4 * units,)
    width = 2 * units or n_features
    dense = []
    if settings.attention_units:
        dense += [("attention", width, settings.attention_units)]
        dense += [("score", settings.attention_units, 1)]
    widths = (width, *settings.dnn_units)
    dense += [(f"dense_{i}", widths[i], widths[i + 1]) for i in range(len(settings.dnn_units))]
    dense += [("output", widths[-1], n_labels)]
    for name, n_in, n_out in dense:
        shapes[f"{name}.kernel"] = (n_in, n_out)
        shapes[f"{name}.bias"] = (n_out,)
    return shapes


def initial_weights(
    settings: ClassifierSettings, n_features: int, n_labels: int, seed: int
) -> dict[str, np.ndarray]:
    """Draw fresh weights: Glorot uniform kernels, orthogonal recurrent ones, zero biases."""
    rng = np.random.default_rng([seed, 0])
    weights = {}
    for name, shape in weight_shapes(settings, n_features, n_labels).items():
        if name.endswith("recurrent_kernel"):
            # One orthogonal square a gate, so that no gate starts by shrinking the state.
            squares = [np.linalg.qr(rng.standard_normal((shape[0], shape[0])))[0] for _ in "ifco"]
            value = np.concatenate(squares, axis=1)
        elif name.endswith("kernel"):
            limit = np.sqrt(6 / (shape[0] + shape[1]))
            value = rng.uniform(-limit, limit, shape)
        else:
            value = np.zeros(shape)
            if name in ("forward.bias", "backward.bias"):
                value[settings.lstm_units : 2 * settings.lstm_units] = FORGET_BIAS
        weights[name] = value.astype(np.float32)
    return weights


_drawn = functools.lru_cache(maxsize=8)(initial_weights)  # every fold starts from a seed's weights


class BLSTMAttentionDNN:
    """The network, compiled once; weights go in and out by name.

    Parameters
    ----------
    settings : shape of the network and how it is trained
    n_features : columns of each stack
    n_labels : classes, 2 or more
    """

    def __init__(self, settings: ClassifierSettings, *, n_features: int, n_labels: int) -> None:
        if n_features < 1 or n_labels < 2:
            raise ClassifierError(
                f"{n_features} features and {n_labels} labels; expected at least 1 and 2"
            )
        self.settings = settings
        self.n_features = n_features
        self.n_labels = n_labels
        self._names = list(weight_shapes(settings, n_features, n_labels))
        self._build()

    def _build(self) -> None:
        settings = self.settings
        values = layers.Input((None, self.n_features), dtype="float32", name="values")
        mask = layers.Input((None,), dtype="bool", name="mask")
        dropout: list[Any] = []

        def dropped(tensor: Any) -> Any:  # noqa: ANN401 - the backend's tensors
            dropout.append(layers.Dropout(settings.dropout))
            return dropout[-1](tensor)

        steps = dropped(values)
        if settings.lstm_units:
            lstm = layers.LSTM(settings.lstm_units, return_sequences=True)
            steps = dropped(layers.Bidirectional(lstm)(steps, mask=mask))
        attention = self._attention(steps, mask)
        state = ops.einsum("bt,btu->bu", attention, steps)
        for units in settings.dnn_units:
            state = dropped(layers.Dense(units, activation="relu")(state))
        probabilities = layers.Dense(self.n_labels, activation="softmax")(state)
        self._trainer = keras.Model([values, mask], probabilities)
        self._reader = keras.Model([values, mask], [probabilities, attention])
        # A layer that drops nothing draws nothing.
        self._seeds = [own.seed_generator.state for own in dropout if settings.dropout]
        # Measured on a CPU: XLA makes TensorFlow's recurrent loop three times slower.
        jit = False if backend_name() == "tensorflow" else "auto"
        self._optimizer = keras.optimizers.AdamW(
            settings.learning_rate, weight_decay=settings.weight_decay, global_clipnorm=1.0
        )
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
        self._trainer.compile(self._optimizer, loss, jit_compile=jit)
        self._reader.compile(jit_compile=jit)

    def _attention(self, steps: Any, mask: Any) -> Any:  # noqa: ANN401 - the backend's tensors
        """Weight of each step, shape (n_stacks, n_steps); rows sum to 1."""
        if not self.settings.attention_units:
            real = ops.cast(mask, "float32")
            return real / ops.sum(real, axis=-1, keepdims=True)
        score = layers.Dense(self.settings.attention_units, activation="tanh")(steps)
        score = ops.squeeze(layers.Dense(1)(score), axis=-1)
        return ops.softmax(ops.where(mask, score, -1e9), axis=-1)

    def reset(self, seed: int) -> None:
        """Start over: weights, dropout and optimizer as if newly built with this seed."""
        self.set_weights(_drawn(self.settings, self.n_features, self.n_labels, seed))
        for i, state in enumerate(self._seeds):
            state.assign(np.array([seed, i], np.uint32))
        self._optimizer.build(self._trainer.trainable_variables)
        for variable in self._optimizer.variables:
            variable.assign(ops.zeros(variable.shape, variable.dtype))
        self.learning_rate = self.settings.learning_rate

    @property
    def learning_rate(self) -> float:
        """The optimizer's, from the next step on."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = value
        self._optimizer.learning_rate = value

    def weights(self) -> dict[str, np.ndarray]:
        """Copy the weights out, name -> float32 array."""
        return dict(zip(self._names, self._trainer.get_weights(), strict=True))

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Put weights in.

        Raises
        ------
        ClassifierError
            A name or a shape that is not the network's.
        """
        shapes = weight_shapes(self.settings, self.n_features, self.n_labels)
        found = {name: tuple(np.shape(value)) for name, value in weights.items()}
        if found != shapes:
            wrong = sorted(
                name for name in {*found, *shapes} if found.get(name) != shapes.get(name)
            )
            raise ClassifierError(
                f"weights do not fit the network at {', '.join(wrong)}; "
                f"expected the names and shapes that these settings imply"
            )
        self._trainer.set_weights([weights[name] for name in self._names])

    def train_step(
        self, values: np.ndarray, mask: np.ndarray, targets: np.ndarray, weights: np.ndarray
    ) -> float:
        """One step of the optimizer on one padded batch; returns its loss."""
        loss: Any = self._trainer.train_on_batch([values, mask], targets, sample_weight=weights)
        return float(loss)

    def predict(self, stacks: Stacks) -> tuple[np.ndarray, list[np.ndarray]]:
        """Name the emotion of each stack.

        Parameters
        ----------
        stacks : float32, each of shape (n_i, n_features), n_i >= 1

        Returns
        -------
        probabilities : float32, shape (n_stacks, n_labels), rows sum to 1
        attention : float32, each of shape (n_i,), sums to 1
        """
        self._check(stacks)
        lengths = lengths_of(stacks)
        probabilities = np.zeros((len(stacks), self.n_labels), np.float32)
        attention: list[np.ndarray] = [np.empty(0, np.float32)] * len(stacks)
        # A batch is as long as its longest stack: beside one recording of an hour, a full batch
        # would not fit into memory. Stacks of ordinary length are not touched by the limit.
        batch_size = self.settings.batch_size
        most = min(MAX_STEPS, MAX_VALUES // self.n_features)
        for rows, size in within(in_order(lengths, batch_size), lengths, batch_size, most):
            batch = pad([stacks[row] for row in rows], size)
            outputs = self._reader.predict_on_batch(list(batch))
            probabilities[rows] = np.asarray(outputs[0])[: len(rows)]
            for place, row in enumerate(rows):
                # A copy: the padded batch must not stay in memory for it.
                attention[row] = np.array(outputs[1][place, : lengths[row]])
        return probabilities, attention

    def _check(self, stacks: Stacks) -> None:
        for number, stack in enumerate(stacks):
            if stack.ndim != 2 or stack.shape[1] != self.n_features or len(stack) == 0:
                raise ClassifierError(
                    f"stack {number} has shape {stack.shape}; "
                    f"expected (1 or more segments, {self.n_features} features)"
                )
