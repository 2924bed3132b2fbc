"""Known datasets by name: fetched, checked, unpacked whole, never twice."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from earmark.data.archives import unpack_archive
from earmark.data.arrangement import arrange_dataset, count_clips
from earmark.data.catalogue import KnownDataset, Source, find_dataset
from earmark.data.transfer import SourceError, fetch_file, find_mirror
from earmark.errors import DownloadError
from earmark.progress import show_progress

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Download:
    """What ``download_dataset`` left behind.

    Args:
        dataset: Which one.
        folder: Where it stands.
        clips: How many clips are in it.
        is_new: False where it stood there before and nothing was done.
        remarks: What one should know of the archive, such as that its checksum is not the published one.
    """

    dataset: KnownDataset
    folder: Path
    clips: int
    is_new: bool
    remarks: tuple[str, ...] = ()


def download_dataset(
    name: str, folder: str | os.PathLike[str], *, archive: str | os.PathLike[str] | None = None
) -> Download:
    """Bring a known dataset into a folder: fetch its archive, check it, unpack it and remove the archive.

    A transfer that broke off goes on at the next call. The dataset appears whole, by renaming, or not at all.

    Args:
        name: One of ``earmark.data.catalogue.KNOWN_DATASETS``.
        folder: Where it goes; the dataset gets a folder of its own in it.
        archive: An archive that was got in another way, such as from Kaggle; it is kept. Its checksum may differ from
            the published one (a remark says so) where its content is laid out as expected and complete.

    Returns:
        Where it stands, with remarks.

    Raises:
        DownloadError: an unknown name, no source that answers, a checksum that is not the published one, an archive
            that is damaged or holds something else, too little room, or a folder of that name with other content.

    Example:
        >>> import tempfile
        >>> download_dataset("gtzam", tempfile.mkdtemp())
        Traceback (most recent call last):
        earmark.errors.DownloadError: No dataset is known as 'gtzam'. Did you mean 'gtzan'? There are: ...
    """
    dataset = find_dataset(name)
    folder = Path(os.path.abspath(os.path.expanduser(folder)))
    target = folder / dataset.folder
    if target.exists():
        return Download(dataset, target, _check_standing(target, dataset), is_new=False)
    if archive is not None:
        archive = _check_given(Path(os.path.abspath(os.path.expanduser(archive))), dataset)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, dataset):
        if archive is not None:
            _check_room(folder, dataset.unpacked_size, dataset)
            is_published, remarks = _compare_with_published(archive, dataset)
            clips = _unpack_whole(archive, target, dataset, is_published)
            return Download(dataset, target, clips, is_new=True, remarks=remarks)
        archive, source, remarks = _fetch(dataset, folder)
        try:
            clips = _unpack_whole(archive, target, dataset, is_published=source.checksum is not None)
        except DownloadError as error:
            archive.unlink()  # a second try starts clean
            raise DownloadError(f"{error} The file fetched has been removed; run the command again.") from error
        archive.unlink()
    return Download(dataset, target, clips, is_new=True, remarks=remarks)


def _check_standing(target: Path, dataset: KnownDataset) -> int:
    clips = count_clips(target, dataset)
    if clips < dataset.clips - dataset.missing_clips:
        raise DownloadError(
            f"{target} is there already, but with {clips:,} of the {dataset.clips:,} clips of {dataset.title}: "
            "rename or remove it, or choose another folder."
        )
    return clips


def _check_given(archive: Path, dataset: KnownDataset) -> Path:
    if archive.is_dir():
        raise DownloadError(f"{archive} is a folder, not an archive: train on it as it is (earmark train {archive}).")
    if not archive.is_file():
        raise DownloadError(f"{archive} does not exist: name the archive of {dataset.title} that you have.")
    return archive


@contextmanager
def _alone(folder: Path, dataset: KnownDataset) -> Iterator[None]:
    """One process at a time, so that two never write the same part; what a killed one left unpacked is removed."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / f".{dataset.folder}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise DownloadError(f"{dataset.title} is being brought to {folder} by another process: wait for it.") from None
    try:
        for left_over in folder.glob(f".{dataset.folder}.*.unpacking"):
            shutil.rmtree(left_over)
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file; it is hidden and does no harm
            Path(lock.lock_file).unlink()
        lock.release()


def _fetch(dataset: KnownDataset, folder: Path) -> tuple[Path, Source, tuple[str, ...]]:
    reasons = []
    for source in dataset.sources:
        url = find_mirror(source.url)
        archive = folder / f".{dataset.folder}.{_identify(source)}.archive"
        arrived = sum(path.stat().st_size for path in folder.glob(f"{archive.name}*"))
        _check_room(folder, max(0, source.size - arrived) + dataset.unpacked_size, dataset)
        try:
            with show_progress(f"Downloading {dataset.name}", "bytes") as advance:
                fetch_file(url, archive, size=source.size, on_progress=advance)
        except SourceError as error:
            reasons.append(str(error))
            continue
        return archive, source, _check_fetched(archive, url, source, dataset)
    raise DownloadError(
        f"{dataset.title} cannot be fetched: {'; '.join(reasons)}. Check the connection and the proxy (HTTPS_PROXY; "
        "for huggingface.co a mirror can stand in HF_ENDPOINT), or fetch the archive in another way and add "
        "--from ARCHIVE."
    )


def _identify(source: Source) -> str:
    """The same for the same archive, wherever it comes from: what one mirror began, another may end."""
    return hashlib.sha256((source.checksum or source.url).encode()).hexdigest()[:8]


def _check_room(folder: Path, needed: int, dataset: KnownDataset) -> None:
    from rich.filesize import decimal

    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{dataset.title} needs about {decimal(needed)} in {folder}, where {decimal(free)} are free: "
            "make room or choose another folder."
        )


def _check_fetched(archive: Path, url: str, source: Source, dataset: KnownDataset) -> tuple[str, ...]:
    algorithm = (source.checksum or "sha256:").partition(":")[0]
    found = _hash(archive, algorithm)
    if source.checksum is None:
        return (
            f"No checksum is published for this archive; that of the file fetched is {found}. All "
            f"{dataset.clips:,} clips were found in it.",
        )
    if found != source.checksum:
        archive.unlink()
        raise DownloadError(
            f"What {url} gave has the checksum {found}, not {source.checksum} as published: it was damaged on the way "
            "or replaced. It has been removed; run the command again, or give an archive you trust with --from ARCHIVE."
        )
    return ()


def _compare_with_published(archive: Path, dataset: KnownDataset) -> tuple[bool, tuple[str, ...]]:
    published = [source.checksum for source in dataset.sources if source.checksum is not None]
    algorithms = {checksum.partition(":")[0] for checksum in published} or {"sha256"}
    found = [_hash(archive, algorithm) for algorithm in sorted(algorithms)]
    if set(found) & set(published):
        return True, ()
    if not published:
        return False, (f"No checksum is published for {dataset.title}; that of {archive.name} is {found[0]}.",)
    return False, (
        f"The checksum of {archive.name} ({', '.join(found)}) is not the published one ({', '.join(published)}): it "
        "was taken because its content is laid out as expected and complete, but nobody vouches for the sounds in it.",
    )


def _hash(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = path.stat().st_size
    with open(path, "rb") as file, show_progress("Checking the archive", "bytes") as advance:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            advance(file.tell(), size)
    return f"{algorithm}:{digest.hexdigest()}"


def _unpack_whole(archive: Path, target: Path, dataset: KnownDataset, is_published: bool) -> int:
    """Unpack beside the target, look at what came, and only then give it its name."""
    part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{dataset.folder}.", suffix=".unpacking"))
    try:
        with show_progress(f"Unpacking {dataset.name}", "bytes") as advance:
            unpack_archive(archive, part / "archive", advance)
        home = arrange_dataset(part / "archive", archive, dataset)
        clips = count_clips(home, dataset)
        # What has the published checksum is the dataset, by definition.
        if clips < dataset.clips - dataset.missing_clips and not is_published:
            raise DownloadError(
                f"{archive} holds {clips:,} of the {dataset.clips:,} clips of {dataset.title}: it is incomplete or "
                "another version. Get a whole one, or unpack it yourself and train on its folder."
            )
        os.rename(home, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return clips
