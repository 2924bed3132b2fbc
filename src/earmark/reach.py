"""Whether the Hugging Face Hub answers: asked once, instead of a minute of retries before the plain sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

REACH_TIMEOUT_S = 4.0


@contextmanager
def offline_if_unreachable() -> Iterator[bool]:
    """Ask once whether the Hub (or the mirror in ``HF_ENDPOINT``) answers; if not, use only what is cached.

    Transformers, timm and ``datasets`` then look nowhere else; the last keeps a switch of its own, if it is loaded.

    Yields:
        Whether the Hub can be reached.
    """
    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    reachable = not before
    if reachable:
        try:
            get_session().head(constants.ENDPOINT, timeout=REACH_TIMEOUT_S)
        except Exception:  # every transport names its failures differently; each of them means the same here
            reachable = False
    _switch_offline(constants, not reachable)
    try:
        yield reachable
    finally:
        _switch_offline(constants, before)


def _switch_offline(constants: Any, offline: bool) -> None:
    constants.HF_HUB_OFFLINE = offline
    # Set each time, never restored: `datasets` copies the switch when it is imported, which may be in between.
    if "datasets" in sys.modules:
        sys.modules["datasets"].config.HF_HUB_OFFLINE = offline
