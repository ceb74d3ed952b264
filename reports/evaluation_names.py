"""What classifiers, features and normalisations are called in words."""

from __future__ import annotations

NETWORK = "blstm_attention_dnn"
CLASSIFIERS = {
    NETWORK: "BLSTM, attention, DNN",
    "linear_svm": "Linear SVM",
    "majority": "Majority class",
}
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


def baseline_words(name: str) -> tuple[str, str]:
    """Say what a baseline's evaluation is, and which normalisation it has.

    Parameters
    ----------
    name : ``svm-speaker``, ``egemaps-train``, ``majority``, ...

    Returns
    -------
    words : what was trained, in the middle of a sentence
    normalise : ``speaker``, ``train`` or ``none``; empty where nothing is normalised

    Examples
    --------
    >>> baseline_words("egemaps-train"), baseline_words("majority")
    (('linear SVM on openSMILE eGeMAPSv02', 'train'), ('majority class', ''))
    """
    stem, _, normalise = name.rpartition("-")
    if normalise not in NORMALISATIONS:
        stem, normalise = name, ""
    words = (
        classifier_words(stem)
        if stem in CLASSIFIERS
        else classifier_words("linear_svm", "" if stem == "svm" else stem)
    )
    return words[:1].lower() + words[1:], normalise
