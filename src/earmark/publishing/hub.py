"""Hand-over: a trained model with its card and its figures goes to the Hugging Face Hub, whole or not at all."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.groups import hash_group
from earmark.errors import EarmarkError, ModelError, RunError
from earmark.inference.classifier import Classifier, find_model
from earmark.inference.golden import verify_model
from earmark.models.hub import explain_wrong_token, find_refusal, is_hub_id, show_upload
from earmark.reach import offline_if_unreachable
from earmark.training.card import PLACE, hide_places
from earmark.training.run import Run

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi


def push(run: Run | str | os.PathLike[str], repo_id: str, *, private: bool = True, message: str | None = None) -> str:
    """Upload a trained model to the Hub, in one commit; a model that was there before stays in the history.

    The model directory goes up with its card, and ``report.json`` of the run. What could tell on people stays here:
    ``report.html``, which holds recordings; the manifest; the folders of this machine. ``training_data.json`` keeps the
    hashes of the clips; the names of their groups, which may be those of speakers, are replaced by hashes, which only
    tell whoever knows a name that it is among them.

    The token comes from ``HF_TOKEN`` or ``hf auth login``; ``HF_ENDPOINT`` is honoured. The golden waveforms are
    replayed first, so that a damaged copy is not published.

    Args:
        run: A run, its folder, or a model directory.
        repo_id: ``owner/name``: your user name, or an organisation that you may write to; made if it is not there.
        private: Whether only its owners may see it. One that is there already must be so, too.
        message: Of the commit.

    Returns:
        The model's address.

    Raises:
        RunError: a run that is not finished, or holds no model.
        ModelError: a damaged model, a name that the Hub does not take, no token or a wrong one, no right to write
            there, no connection.

    Example:
        >>> import earmark
        >>> earmark.push("runs/latest", "me/my-sounds")   # doctest: +SKIP
        'https://huggingface.co/me/my-sounds'
    """
    if not is_hub_id(repo_id):
        raise ModelError(
            f"{repo_id!r} is no name for a model on the Hub; give OWNER/NAME, each of letters, digits, '-', '_' and "
            "'.', at most 96 of them, neither '--' nor '..', and neither '-' nor '.' at an end."
        )
    folder, report = _find_finished(run.folder if isinstance(run, Run) else Path(run))
    _check_token()
    _check_answers(folder)
    return _upload(folder, report, repo_id, private=private, message=message)


def _find_finished(folder: Path) -> tuple[Path, dict[str, Any] | None]:
    """The model directory, and the report of its run if it is in one."""
    if not folder.is_dir():
        raise RunError(f"There is no run {folder}; give the folder that `earmark train` wrote.")
    run = folder.resolve().parent if (folder.resolve().parent / "run.json").is_file() else folder
    if not (run / "report.json").is_file():
        if (run / "run.json").is_file():
            raise RunError(f"The run {run} is not finished; `earmark train --resume {run}` ends it.")
        return Path(find_model(folder)), None
    try:
        report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{run / 'report.json'} is damaged ({error}); copy the run again from where it was.") from error
    if report.get("kind") != "train" and not report.get("refit"):
        raise RunError(
            f"{run} measured models and holds none; push the run of an `earmark train`, or of a crossval with --refit."
        )
    return Path(find_model(folder)), report


def _check_token() -> None:
    from huggingface_hub import constants, get_token

    if not get_token():
        raise ModelError(
            f"Pushing needs a token that may write; make one at {constants.ENDPOINT}/settings/tokens, "
            "then run `hf auth login` or set HF_TOKEN."
        )


def _check_answers(folder: Path) -> None:
    if not verify_model(Classifier.from_pretrained(folder), folder).holds:
        raise ModelError(
            f"The model in {folder} does not give the answers it gave when it was saved, so it was not published; "
            "copy it again from where it came from, or train it again."
        )


def _upload(folder: Path, report: dict[str, Any] | None, repo_id: str, *, private: bool, message: str | None) -> str:
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise ModelError("HF_HUB_OFFLINE forbids to reach the Hub; unset it to push.")
    with offline_if_unreachable() as reachable, show_upload():
        if not reachable:
            raise ModelError(
                f"The Hub ({constants.ENDPOINT}) cannot be reached, so nothing was published; check the connection, "
                "and HF_ENDPOINT where a mirror is set."
            )
        api = HfApi()
        try:
            _check_visibility(api, repo_id, private=private)
            url = api.create_repo(repo_id, private=private, exist_ok=True)
            # One commit by itself: upload_folder may make several of a folder.
            title = report["title"] if report else folder.name
            api.create_commit(repo_id, _gather(folder, report, repo_id), commit_message=message or f"Earmark: {title}")
        except EarmarkError:
            raise
        except Exception as error:  # refusals and broken connections come in a dozen kinds
            raise ModelError(_explain(error, repo_id)) from error
    return str(url)


def _check_visibility(api: "HfApi", repo_id: str, *, private: bool) -> None:
    """Nobody publishes by accident to all the world, or to nobody."""
    from huggingface_hub.utils import HfHubHTTPError

    try:
        there = api.model_info(repo_id)
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 404):
            return  # nothing there, or nothing that we may see: making it will tell
        raise
    if private and not there.private:
        raise ModelError(
            f"{repo_id} is there already, and public; give --public to publish there, or choose another name."
        )
    if there.private and not private:
        raise ModelError(
            f"{repo_id} is there already, and private; leave --public out, or make it public in its settings first."
        )


def _gather(folder: Path, report: dict[str, Any] | None, repo_id: str) -> "list[CommitOperationAdd]":
    """What goes up: the model directory as it is, but for what a stranger should read differently or not at all."""
    from huggingface_hub import CommitOperationAdd

    files: dict[str, Path | bytes] = {
        path.name: path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")
    }
    if "README.md" in files:
        files["README.md"] = (folder / "README.md").read_text(encoding="utf-8").replace(PLACE, repo_id).encode()
    if "training_data.json" in files:
        files["training_data.json"] = _hide_groups((folder / "training_data.json").read_text(encoding="utf-8")).encode()
    if report is not None:
        files["report.json"] = json.dumps(hide_places(report), ensure_ascii=False, indent=2).encode()
    return [CommitOperationAdd(path_in_repo=name, path_or_fileobj=content) for name, content in files.items()]


def _hide_groups(text: str) -> str:
    """``training_data.json`` with hashes for the names of groups: the same for the same, and not to be read."""
    memory = json.loads(text)
    for clip in memory["clips"]:
        if clip["group"] is not None:
            clip["group"] = hash_group(clip["group"])
    return json.dumps(memory, ensure_ascii=False, indent=1)


def _explain(error: Exception, repo_id: str) -> str:
    """One sentence on why nothing was published, and what to do."""
    from huggingface_hub import constants

    status, said = find_refusal(error)
    if status == 401:
        return explain_wrong_token()
    if status == 403:
        return (
            f"The token may not write to {repo_id} (403); use your own user name or an organisation that lets you "
            f"write, and a token with that right from {constants.ENDPOINT}/settings/tokens."
        )
    reason = f"{status} {said}".strip() if status else (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"The upload to {repo_id} failed ({reason}), so nothing was published; push again."
