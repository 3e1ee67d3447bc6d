"""The exceptions of `models`.

ModelsError
  x  ArtifactError      an artifact is missing, damaged, or of a kind this version cannot read
  x  TrainingError      the events given cannot train a model
  x  EvaluationError    the events given cannot be scored
  x  IndexUnavailable   what searches large catalogues is not installed

Each message is one line that names the thing and says what to do about it.
"""


class ModelsError(Exception):
    """Whatever the recommender refuses; its text is one line meant for a person."""


class ArtifactError(ModelsError):
    """An artifact cannot be used: which file, what is wrong with it, and the remedy."""


class TrainingError(ModelsError):
    """The events given cannot train a model, or training went astray (a loss that is no number)."""


class EvaluationError(ModelsError):
    """The events given leave nothing to score."""


class IndexUnavailable(ModelsError):
    """An index of the catalogue is asked for, and the package that makes one is not installed."""
