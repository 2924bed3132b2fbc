"""The errors that are the user's to mend: one clear sentence that says what to do next.

The command line prints the message and exits with code 2; a traceback is only ever shown for a fault of ours.
"""


class EarmarkError(Exception):
    """Something the user can mend. The message names the thing, the reason and the remedy."""


class SoundError(EarmarkError):
    """A sound that cannot be read: missing, empty, not audio, damaged beyond use."""


class ClipsError(EarmarkError):
    """A table of labelled clips that does not hold together; all its faults are in one message."""


class RecipeError(EarmarkError):
    """A recipe, or a value in it, that is not among what is allowed."""


class ModelError(EarmarkError):
    """A model that cannot be found, loaded or trusted."""


class RunError(EarmarkError):
    """A run that cannot be started, continued or read."""


class DownloadError(EarmarkError):
    """A known dataset that cannot be fetched, checked or unpacked."""


class ServiceError(EarmarkError):
    """A service that cannot be started."""
