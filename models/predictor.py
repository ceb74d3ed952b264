"""A bundle's classifier at work: stacks in, probabilities and attention out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.blstm_attention_dnn import BLSTMAttentionDNN
from models.bundle import Bundle, BundleError
from models.linear_path import pooled
from models.utterance_vectors import utterance_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence


class Predictor:
    """The networks of a bundle, built once; the probabilities of its seeds are averaged.

    Parameters
    ----------
    bundle : as `load_bundle` gives it
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._network = BLSTMAttentionDNN(
            bundle.classifier, n_features=bundle.n_inputs, n_labels=len(bundle.labels)
        )

    def predict(
        self, stacks: Sequence[np.ndarray], speakers: Sequence[str]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Name the emotion of each stack.

        Parameters
        ----------
        stacks : float32, each of shape (n_i, feature_dim), as the bundle's recipe makes them
        speakers : one a stack; only looked at by a speaker-normalised bundle

        Returns
        -------
        probabilities : float32, shape (n_stacks, n_labels)
        attention : float32, each of shape (n_i,), mean over the seeds
        """
        for stack in stacks:
            if stack.ndim != 2 or stack.shape[1] != self._bundle.feature_dim:
                raise BundleError(
                    f"a stack has shape {stack.shape}; expected (segments, "
                    f"{self._bundle.feature_dim}) as the bundle's recipe makes it"
                )
        inputs = self._bundle.normalisation.transform(stacks, speakers)
        probabilities, attention = [], []
        for weights in self._bundle.weights.values():
            self._network.set_weights(weights)
            outputs = self._network.predict(inputs)
            probabilities.append(outputs[0])
            attention.append(outputs[1])
        averaged = [np.stack(own).mean(axis=0) for own in zip(*attention, strict=True)]
        return np.stack(self._pooled(probabilities, stacks, speakers)).mean(axis=0), averaged

    def _pooled(
        self,
        probabilities: list[np.ndarray],
        stacks: Sequence[np.ndarray],
        speakers: Sequence[str],
    ) -> list[np.ndarray]:
        """Pool each seed's probabilities with the linear path's scores, if there is such a path."""
        if self._bundle.linear is None or not stacks:
            return probabilities
        scores = self._bundle.linear.scores(utterance_vectors(stacks), speakers)
        return [pooled(own, scores, self._bundle.linear_share) for own in probabilities]
