"""The Hugging Face Hub: models fetched by their id, and one plain sentence where it refuses or cannot be reached."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from earmark.errors import ModelError
from earmark.progress import Advance, is_live, show_progress
from earmark.reach import offline_if_unreachable

# What Transformers opens; other weights in a repository are the same again in other formats.
MODEL_FILES = ["*.json", "model.safetensors", "model-*.safetensors", "adapter_model.safetensors", "golden.safetensors"]
OLDER_WEIGHTS = ["pytorch_model*.bin"]
SUBFOLDERS = "*/*"  # checkpoints and exports


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
def show_upload() -> Iterator[None]:
    """The Hub's own bars (bytes, speed, time left) on a terminal; nothing at all where no terminal watches."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    hiding = not is_live() and not are_progress_bars_disabled()
    if hiding:
        disable_progress_bars()
    try:
        yield
    finally:
        if hiding:
            enable_progress_bars()


def is_hub_id(name: str) -> bool:
    """Whether ``name`` could be a model on the Hub, ``owner/name``, by the Hub's own rules.

    Example:
        >>> is_hub_id("facebook/hubert-base-ls960"), is_hub_id("runs/my first/model"), is_hub_id("cnn")
        (True, False, False)
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1 and name.isascii()


def fetch_model(hub_id: str) -> Path:
    """The directory of a model of the Hub, brought into the user's Hugging Face cache unless it is there already.

    ``HF_ENDPOINT`` (a mirror), ``HF_TOKEN`` or a login, ``HF_HOME`` and ``HF_HUB_OFFLINE`` are honoured. Without a
    connection the copy in the cache is used.

    Args:
        hub_id: ``owner/name``.

    Raises:
        ModelError: no such model, one that asks for consent or a login first, a token that is refused, a Hub that
            cannot be reached; the message says what to do.

    Example:
        >>> fetch_model("MIT/ast-finetuned-audioset-10-10-0.4593")   # doctest: +SKIP
        PosixPath('/home/me/.cache/huggingface/hub/models--MIT--ast-…/snapshots/f826b80d…')
    """
    from huggingface_hub import constants

    forbidden = constants.HF_HUB_OFFLINE
    with offline_if_unreachable() as reachable:
        try:
            folder = _fetch(hub_id, MODEL_FILES)
            if not any(folder.glob("*model*.safetensors")):
                _fetch(hub_id, OLDER_WEIGHTS)
        except Exception as error:  # refusals, broken connections and a full disk come in a dozen kinds
            if forbidden:
                raise ModelError(
                    f"There is no folder {hub_id} here, and HF_HUB_OFFLINE forbids to fetch a model of that name; "
                    "check the name, or unset HF_HUB_OFFLINE."
                ) from error
            raise ModelError(_explain(error, hub_id, reachable=reachable)) from error
    if not (folder / "config.json").is_file():
        raise ModelError(f"{hub_id} on the Hub is no model of Transformers (no config.json); choose another.")
    return folder


def _fetch(hub_id: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    with show_progress(f"Fetching {hub_id}", "MB") as advance:
        bars = _count_bytes(advance)
        return Path(snapshot_download(hub_id, allow_patterns=files, ignore_patterns=SUBFOLDERS, tqdm_class=bars))


def _count_bytes(advance: Advance) -> Any:
    """A class of bars that are not drawn: those that count bytes tell them to ``advance``, in megabytes."""
    from huggingface_hub.utils import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            self.counts_bytes = settings.get("unit") == "B"
            super().__init__(*arguments, **settings | {"disable": True})

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            if self.counts_bytes and self.total:
                advance(math.ceil(self.n / 1e6), math.ceil(self.total / 1e6))

    return Silent


def find_refusal(error: BaseException | None) -> tuple[int, str]:
    """The Hub's answer behind an error: its HTTP status and what it says; (0, "") if it was none."""
    from huggingface_hub.utils import HfHubHTTPError

    while error is not None and not isinstance(error, HfHubHTTPError):
        error = error.__cause__ or error.__context__
    if error is None:
        return 0, ""
    return error.response.status_code, " ".join((error.server_message or "").split())


def explain_wrong_token() -> str:
    """The sentence for a token that the Hub does not know."""
    from huggingface_hub import constants

    source = "in HF_TOKEN" if os.environ.get("HF_TOKEN") else "of your login"
    return (
        f"The Hub does not know the token {source}; it is mistyped, expired or revoked: make a new one at "
        f"{constants.ENDPOINT}/settings/tokens and give it with HF_TOKEN or, where that is not set, `hf auth login`."
    )


def _explain(error: Exception, hub_id: str, *, reachable: bool) -> str:
    """One sentence on why a model could not be fetched, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.utils import GatedRepoError

    nowhere = f"There is no folder {hub_id} here, and"
    status, said = find_refusal(error)
    if not reachable:
        return (
            f"{nowhere} the Hub ({constants.ENDPOINT}) cannot be reached for a model of that name; "
            "check the name and the connection, or set HF_ENDPOINT to a mirror."
        )
    if isinstance(error, GatedRepoError):
        return (
            f"The owner of {hub_id} wants its terms accepted first; do so at {constants.ENDPOINT}/{hub_id}, "
            "and log in with `hf auth login` or set HF_TOKEN."
        )
    if status == 401 and "credentials" in said.lower():
        return explain_wrong_token()
    if status in (401, 404):
        return (
            f"{nowhere} the Hub knows no model of that name, or keeps it private; check the name, "
            "and for a private model log in with `hf auth login` or set HF_TOKEN."
        )
    reason = f"{status} {said}".strip() if status else (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{hub_id} cannot be fetched from the Hub ({reason}); try again later."
