"""The Hugging Face Hub when it cannot be reached: no minute of retries before the plain answer."""

from collections.abc import Iterator
from contextlib import contextmanager

REACH_TIMEOUT_S = 4.0


@contextmanager
def hide_progress() -> Iterator[None]:
    """No bars of Transformers' own while weights are read or written: a blink for models of this size."""
    from transformers.utils import logging

    was_shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_shown:
            logging.enable_progress_bar()


@contextmanager
def offline_if_unreachable() -> Iterator[bool]:
    """Ask once whether the Hub (or the mirror in ``HF_ENDPOINT``) answers; if not, use only what is cached.

    Yields:
        Whether the Hub can be reached.
    """
    from huggingface_hub import constants, get_session

    was_offline = constants.HF_HUB_OFFLINE
    reachable = not was_offline
    if reachable:
        try:
            get_session().head(constants.ENDPOINT, timeout=REACH_TIMEOUT_S)
        except Exception:  # every transport names its failures differently; each of them means the same here
            reachable = False
    constants.HF_HUB_OFFLINE = not reachable
    try:
        yield reachable
    finally:
        constants.HF_HUB_OFFLINE = was_offline
