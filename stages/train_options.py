"""What a training is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field

from features_cache.keys import CLEAN
from models.blstm_attention_dnn import ClassifierSettings
from models.fitting import BALANCES
from models.linear_path import LinearPathSettings
from models.linear_svm import SVMSettings
from models.normalisation import STANDARDISE


class TrainError(ValueError):
    """Options or labels that no classifier can be trained by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """What a training is asked to do.

    Parameters
    ----------
    folds : column of the manifest to fold by
    normalise : ``speaker``, ``train`` or ``none``: the evaluation shown first. Where it is
        ``speaker``, which is transductive, ``train`` is evaluated beside it
    seeds : one training a fold for each
    balance : ``weights``, ``oversample`` or ``none``; the linear path, which draws nothing, takes weights
        for ``oversample``, too
    n_components : principal components kept, 0 = no PCA; fewer where there are fewer features
    views : names of the views that training utterances are also seen through
    own_svm : evaluate the linear SVM on the same features and folds, too
    speaker_bundle : normalise the bundle by speaker, not inductively; needs ``speaker`` above
    n_examples : utterances kept with their attention for the report
    classifier, linear : settings of the network and of the linear path beside it
    svm : settings of the baseline
    """

    folds: str = "speaker"
    normalise: str = "speaker"
    seeds: tuple[int, ...] = (0,)
    balance: str = "weights"
    n_components: int = 256
    views: tuple[str, ...] = ()
    own_svm: bool = True
    speaker_bundle: bool = False
    n_examples: int = 6
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    linear: LinearPathSettings = field(default_factory=LinearPathSettings)
    svm: SVMSettings = field(default_factory=SVMSettings)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("normalise", self.normalise, STANDARDISE),
            ("balance", self.balance, BALANCES),
        ):
            if value not in known:
                raise TrainError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        if self.speaker_bundle and self.normalise != "speaker":
            raise TrainError(
                f"a bundle normalised by speaker was asked for, and normalise is "
                f"{self.normalise!r}; expected 'speaker', so that its number is known; "
                f"leave one of them out"
            )
        if CLEAN in self.views or len(set(self.views)) < len(self.views):
            raise TrainError(
                f"views are {', '.join(self.views)}; expected other ones than {CLEAN!r}, each once"
            )
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise TrainError(f"seeds are {self.seeds}; expected different numbers from 0")
        if self.n_components < 0 or self.n_examples < 0:
            raise TrainError(
                f"n_components is {self.n_components} and n_examples {self.n_examples}; "
                f"expected 0 or more"
            )

    @property
    def is_transductive(self) -> bool:
        """Whether the evaluation shown first uses test speakers' own unlabelled statistics."""
        return self.normalise == "speaker"

    @property
    def bundled(self) -> str:
        """The normalisation of the bundle."""
        return self.normalise if self.speaker_bundle else self.inductive

    @property
    def inductive(self) -> str:
        """The normalisation of the inductive number: the headline's own, or ``train``."""
        return "train" if self.is_transductive else self.normalise
