"""Datasets of the Hugging Face Hub by their id: Parquet through ``datasets``, plain files as any other folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from earmark.data.clips import Clips
from earmark.data.saved_dataset import build_dataset_clips, import_datasets, quieten
from earmark.data.store import find_cache_folder
from earmark.errors import ClipsError
from earmark.files import write_text_whole
from earmark.reach import offline_if_unreachable
from earmark.sound.decode import AUDIO_SUFFIXES

_CONVERTED = "refs/convert/parquet"  # where the Hub keeps Parquet copies of datasets that are made by a script
_LIST_SUFFIXES = (".csv", ".tsv", ".txt")
PREFIX = "hf://"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_ID_AND_CONFIGURATION = re.compile(rf"{_ID.pattern}(/[\w.-]+)?", re.ASCII)


def name_hub_dataset(path: str) -> str | None:
    """The Hub dataset that a path means, ``owner/name`` or ``owner/name/configuration``; ``None`` for a path here.

    Without ``hf://`` before it, ``owner/name`` is one only where neither it nor the folder ``owner`` is here, and the
    name does not end like a file of sounds or clips.

    Raises:
        ClipsError: something else stands after ``hf://``.

    Example:
        >>> name_hub_dataset("hf://google/speech_commands/v0.02"), name_hub_dataset("ashraq/esc50")
        ('google/speech_commands/v0.02', 'ashraq/esc50')
        >>> name_hub_dataset("sounds"), name_hub_dataset("birds/clips.csv")
        (None, None)
    """
    posix = path.replace(os.sep, "/")
    if posix.startswith("hf:/"):  # pathlib takes two slashes for one
        name = posix.removeprefix("hf:").strip("/").removeprefix("datasets/")
        if not _ID_AND_CONFIGURATION.fullmatch(name):
            raise ClipsError(f"{path} names no Hub dataset: write hf://owner/name or hf://owner/name/configuration.")
        return name
    suffix = PurePosixPath(path).suffix.lower()
    is_here = os.path.exists(path) or os.path.exists(path.split("/")[0])
    if not _ID.fullmatch(path) or is_here or suffix in (*_LIST_SUFFIXES, ".parquet", *AUDIO_SUFFIXES):
        return None
    return path


def fetch_hub_dataset(name: str) -> Clips | Path:
    """A dataset of the Hub, brought into the user's cache unless it is there already.

    ``HF_ENDPOINT`` (a mirror), ``HF_TOKEN`` or a login, ``HF_HOME`` and ``HF_HUB_OFFLINE`` are honoured. Without a
    connection the copy in the cache is used.

    Args:
        name: ``owner/name``, or ``owner/name/configuration``.

    Returns:
        The clips of a dataset in Parquet; or the folder where its files now lie, to be read as any other.

    Raises:
        ClipsError: it does not exist or cannot be reached or read; the message says what to do.

    Example:
        >>> fetch_hub_dataset("ashraq/esc50").labels[:2]   # doctest: +SKIP
        ('airplane', 'breathing')
    """
    datasets = import_datasets()
    from huggingface_hub import constants

    hub_id, configuration = _split_name(name)
    forbidden = constants.HF_HUB_OFFLINE
    with offline_if_unreachable() as reachable, quieten(datasets):
        try:
            if not reachable and (folder := _find_fetched(name)):
                return folder
            kind, suffixes = _look_into(hub_id) if reachable else ("parquet", Counter())
            if kind == "other":
                raise ClipsError(_describe_contents(hub_id, suffixes))
            if kind == "sounds":
                return _fetch_files(name, [f"*{suffix}" for suffix in (*AUDIO_SUFFIXES, *_LIST_SUFFIXES)])
            if kind == "script":
                return _fetch_converted(name)
            parts = datasets.load_dataset(hub_id, configuration)
        except ClipsError:
            raise
        except Exception as error:  # refusals, broken connections and a full disk come in a dozen kinds
            raise ClipsError(_explain(error, name, forbidden=forbidden, reachable=reachable)) from error
        return build_dataset_clips(parts, f"{PREFIX}{name}")


def _split_name(name: str) -> tuple[str, str | None]:
    """``owner/name`` and the configuration, if one is named."""
    owner, repository, *configuration = name.split("/")
    return f"{owner}/{repository}", configuration[0] if configuration else None


def _look_into(hub_id: str) -> tuple[str, Counter[str]]:
    """What a dataset is made of: ``parquet``, ``sounds``, ``script`` or ``other``; and the suffixes of its files."""
    from huggingface_hub import HfApi

    files = HfApi().list_repo_files(hub_id, repo_type="dataset")
    suffixes = Counter(PurePosixPath(file).suffix.lower() or file for file in files if not file.startswith("."))
    if any(file.endswith(".parquet") and not file.endswith("metadata.parquet") for file in files):
        return "parquet", suffixes
    if suffixes.keys() & AUDIO_SUFFIXES:
        return "sounds", suffixes
    return ("script" if f"{hub_id.split('/')[1]}.py" in files else "other"), suffixes


def _fetch_files(name: str, patterns: list[str], *, below: str = "", revision: str | None = None) -> Path:
    """Some of a dataset's files, whole: what was broken off is not found again until it has been completed."""
    from huggingface_hub import snapshot_download

    hub_id = _split_name(name)[0]
    fetched = snapshot_download(hub_id, repo_type="dataset", allow_patterns=patterns, revision=revision)
    folder = Path(fetched) / below
    write_text_whole(_mark(name), str(folder))
    return folder


def _find_fetched(name: str) -> Path | None:
    mark = _mark(name)
    folder = Path(mark.read_text(encoding="utf-8")) if mark.is_file() else None
    return folder if folder is not None and folder.is_dir() else None


def _mark(name: str) -> Path:
    return find_cache_folder() / "hub" / f"{name.replace('/', '--')}.txt"


def _fetch_converted(name: str) -> Path:
    """The Hub's own Parquet copy of a dataset that is made by a script, which nobody should run."""
    hub_id, configuration = _split_name(name)
    found = _list_converted(hub_id)
    if not found:
        known = " (GTZAN: `earmark data download gtzan FOLDER`)" if hub_id.endswith("/gtzan") else ""
        raise ClipsError(
            f"{hub_id} is made by a script, and the Hub holds no whole copy of it in Parquet: download and unpack its "
            f"sounds{known}, and give their folder."
        )
    if configuration is None and len(found) > 1:
        raise ClipsError(_ask_for_configuration(hub_id, found))
    chosen = configuration or found[0]
    if chosen not in found:
        raise ClipsError(f"{hub_id} has no configuration {chosen}. {_ask_for_configuration(hub_id, found)}")
    return _fetch_files(name, [f"{chosen}/*.parquet"], below=chosen, revision=_CONVERTED)


def _list_converted(hub_id: str) -> list[str]:
    """The configurations of which the Hub keeps a whole copy in Parquet, each a folder with a folder a split."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionNotFoundError

    try:
        files = HfApi().list_repo_files(hub_id, repo_type="dataset", revision=_CONVERTED)
    except RevisionNotFoundError:
        return []
    places = [file.split("/") for file in files if file.endswith(".parquet")]
    partial = {parts[0] for parts in places if parts[1].startswith("partial-")}  # the first gigabytes of a large one
    return sorted({parts[0] for parts in places} - partial)


def _ask_for_configuration(hub_id: str, configurations: list[str]) -> str:
    named = ", ".join(configurations[:10]) + (", …" if len(configurations) > 10 else "")
    return (
        f"{hub_id} has {len(configurations)} configurations ({named}): "
        f"name one, as in {PREFIX}{hub_id}/{configurations[0]}."
    )


def _describe_contents(hub_id: str, suffixes: Counter[str]) -> str:
    found = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5)) or "nothing"
    return (
        f"{hub_id} on the Hub holds neither Parquet nor sound files (found: {found}): if its sounds are packed, "
        "download and unpack them, and give their folder."
    )


def _explain(error: Exception, name: str, *, forbidden: bool, reachable: bool) -> str:
    """One sentence on why a dataset could not be fetched, and what to do."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    hub_id = _split_name(name)[0]
    nowhere = f"There is no folder {name} here, and"
    if forbidden:
        return f"{nowhere} HF_HUB_OFFLINE forbids to fetch a dataset of that name; check it, or unset HF_HUB_OFFLINE."
    if not reachable:
        return (
            f"{nowhere} the Hub ({constants.ENDPOINT}) cannot be reached for a dataset of that name; "
            "check the name and the connection, or set HF_ENDPOINT to a mirror."
        )
    refusals = [cause for cause in _causes(error) if isinstance(cause, HfHubHTTPError)]
    status = refusals[0].response.status_code if refusals else 0
    if any(isinstance(cause, GatedRepoError) for cause in refusals):
        return (
            f"The owner of {hub_id} wants its terms accepted first; do so at {constants.ENDPOINT}/datasets/{hub_id}, "
            "and log in with `hf auth login` or set HF_TOKEN."
        )
    if status == 401 and "credentials" in (refusals[0].server_message or "").lower():
        return (
            "The Hub does not know your token; make a new one at "
            f"{constants.ENDPOINT}/settings/tokens and give it with HF_TOKEN or `hf auth login`."
        )
    if status in (401, 404):
        return (
            f"{nowhere} the Hub knows no dataset of that name, or keeps it private; check the name, "
            "and for a private dataset log in with `hf auth login` or set HF_TOKEN."
        )
    reason = " ".join(str(error).split()) or type(error).__name__
    if configurations := re.search(r"(?:configs|Available): \[(.*?)\]", reason):
        return _ask_for_configuration(hub_id, re.findall(r"'([^']+)'", configurations[1]))
    return f"{name} could not be fetched from the Hub ({reason}); try again, or download it and give its folder."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
