"""What classifiers, features and normalisations are called in words."""

from __future__ import annotations

WITH_LINEAR = "blstm_attention_dnn_linear"
NETWORK = "blstm_attention_dnn"
LINEAR = "linear_path"
CLASSIFIERS = {
    WITH_LINEAR: "BLSTM, attention, DNN and linear path",
    NETWORK: "BLSTM, attention, DNN",
    LINEAR: "Linear path",
    "linear_svm": "Linear SVM",
    "majority": "Majority class",
}
PARTS = {"network": NETWORK, "linear": LINEAR}
"""What the name of a part's evaluation begins with -> the part of the classifier `WITH_LINEAR`."""

STEMS = {"svm": "linear_svm", **PARTS}
"""What an evaluation's name begins with, unless with its features -> its classifier."""

FEATURES = {
    "egemaps": "openSMILE eGeMAPSv02",
    "compare": "openSMILE ComParE_2016",
    "whole-utterance": "whole-utterance pictures",
}
"""Features of others than the store; its own need no name."""

NORMALISATIONS = {
    "speaker": "each speaker's own statistics",
    "train": "training speakers' statistics",
    "none": "no normalisation",
}


def classifier_words(classifier: str, features: str = "") -> str:
    """Say what was trained, and on whose features unless on the store's own.

    Examples
    --------
    >>> classifier_words("linear_svm"), classifier_words("linear_svm", "egemaps")
    ('Linear SVM', 'Linear SVM on openSMILE eGeMAPSv02')
    """
    words = CLASSIFIERS.get(classifier, classifier)
    return f"{words} on {FEATURES.get(features, features)}" if features else words


def evaluation_words(name: str) -> tuple[str, str]:
    """Say what an evaluation is, and which normalisation it has.

    Parameters
    ----------
    name : ``svm-speaker``, ``network-train``, ``egemaps-train``, ``majority``, ...

    Returns
    -------
    words : what was trained, in the middle of a sentence
    normalise : ``speaker``, ``train`` or ``none``; empty where nothing is normalised

    Examples
    --------
    >>> evaluation_words("egemaps-train"), evaluation_words("majority")
    (('linear SVM on openSMILE eGeMAPSv02', 'train'), ('majority class', ''))
    >>> evaluation_words("network-speaker")
    ('BLSTM, attention, DNN', 'speaker')
    """
    stem, _, normalise = name.rpartition("-")
    if normalise not in NORMALISATIONS:
        stem, normalise = name, ""
    classifier = STEMS.get(stem, stem)
    words = (
        classifier_words(classifier)
        if classifier in CLASSIFIERS
        else classifier_words("linear_svm", stem)
    )
    return _in_a_sentence(words), normalise


def is_part(name: str) -> bool:
    """Tell whether an evaluation is of a part of the classifier, such as ``network-train``."""
    return name.partition("-")[0] in PARTS


def _in_a_sentence(words: str) -> str:
    """Begin with a small letter, unless with an abbreviation."""
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]
