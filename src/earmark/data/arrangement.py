"""What came out of an archive, brought into the layout in which the dataset was published."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from earmark.data.catalogue import KnownDataset
from earmark.errors import DownloadError


def arrange_dataset(unpacked: Path, archive: Path, dataset: KnownDataset) -> Path:
    """Find the dataset in an unpacked archive, however deep, and give it the published layout.

    Kaggle's copies put the table and the clips of UrbanSound8K and ESC-50 side by side, and GTZAN beside pictures.

    Args:
        unpacked: The folder into which the archive was unpacked; things in it are moved.
        archive: Its name is used in messages.
        dataset: What should be in it.

    Returns:
        The folder, in ``unpacked`` or beside it, that is to become ``dataset.folder``.

    Raises:
        DownloadError: there is no clip of that dataset, or a table is missing.
    """
    files = list(_list_files(unpacked))
    clips = _find_clips(unpacked, files, dataset)
    if clips is None:
        raise DownloadError(
            f"{archive} holds no clip of {dataset.title}: check that it is the archive of that dataset."
        )
    home = clips.parent if dataset.clip_folder else clips
    is_at_home = clips.name == dataset.clip_folder or not dataset.clip_folder
    if is_at_home and all((home / table).is_file() for table in dataset.tables):
        return _keep_subset(home, dataset)
    arranged = unpacked.parent / "arranged" if dataset.clip_folder else clips
    arranged.mkdir(exist_ok=True)
    for table in dataset.tables:
        found = [file for file in files if PurePosixPath(file).name == PurePosixPath(table).name]
        if not found:
            raise DownloadError(f"{archive} holds clips of {dataset.title}, but no {PurePosixPath(table).name}.")
        (arranged / table).parent.mkdir(parents=True, exist_ok=True)
        os.rename(unpacked / min(found, key=len), arranged / table)
    if dataset.clip_folder:
        os.rename(clips, arranged / dataset.clip_folder)
    return _keep_subset(arranged, dataset)


def count_clips(home: Path, dataset: KnownDataset) -> int:
    """How many files below ``home`` lie and are called as the dataset's clips are."""
    pattern = re.compile("/".join(filter(None, (dataset.clip_folder, dataset.clip_pattern))))
    return sum(pattern.fullmatch(file) is not None for file in _list_files(home))


def _find_clips(unpacked: Path, files: list[str], dataset: KnownDataset) -> Path | None:
    """The folder below which most clips lie; of several equal ones (the same clips at two rates) the outermost."""
    pattern = re.compile(rf"(?P<above>(?:.+/)?){dataset.clip_pattern}")
    above = Counter(match["above"] for file in files if (match := pattern.fullmatch(file)))
    return unpacked / max(above, key=lambda path: (above[path], -len(path))) if above else None


def _keep_subset(home: Path, dataset: KnownDataset) -> Path:
    """Remove the clips that are not marked as belonging to the subset; the table stays as it was published."""
    if dataset.subset_column is None:
        return home
    with open(home / dataset.tables[0], encoding="utf-8", newline="") as file:
        kept = {row.get("filename") for row in csv.DictReader(file) if row.get(dataset.subset_column) == "True"}
    for clip in (home / dataset.clip_folder).rglob("*.wav"):
        if clip.name not in kept:
            clip.unlink()
    return home


def _list_files(folder: Path) -> Iterator[str]:
    """The files below a folder as paths from there, with ``/`` between names."""
    for above, _, names in os.walk(folder):
        relative = Path(above).relative_to(folder)
        yield from ((relative / name).as_posix() for name in names)
