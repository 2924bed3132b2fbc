"""Whole archives: millions of files, answered in bounded memory, and gone on with after whatever stopped it."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from earmark.cores import count_cores
from earmark.errors import ModelError
from earmark.inference.answer_files import FORMATS, Record, check_parquet, to_record
from earmark.inference.classifier import FILES_AT_ONCE, Classifier, cut_groups, find_model
from earmark.inference.decoders import DecoderProcesses
from earmark.inference.loading import Decoders
from earmark.inference.shards import Shards, open_shards
from earmark.progress import Advance

FEW_FILES = 64  # fewer are decoded by threads: starting processes would take longer
REASONS = 10


@dataclass
class ArchiveSummary:
    """What came of an archive.

    Args:
        files: How many files there are.
        kept: How many of them an earlier run had answered.
        faults: How many could not be read.
        reasons: Why, of the first ten.
    """

    files: int = 0
    kept: int = 0
    faults: int = 0
    reasons: list[str] = field(default_factory=list)


def predict_archive(
    model: str,
    paths: Iterable[str],
    out: str | os.PathLike[str],
    *,
    form: str | None = None,
    top_k: int = 3,
    reject: bool = False,
    engine: str = "local",
    classifier: Classifier | None = None,
    on_progress: Advance | None = None,
) -> ArchiveSummary:
    """Label files, however many, and write the answers to one file, in the order of the files.

    What is answered is kept in a folder beside ``out`` until all is: killed at any point, the same call goes on there
    and ends with the same bytes. Files are decoded in processes of their own, ahead of the model.

    Args:
        model: What `Classifier.from_pretrained` takes.
        paths: Files, as `earmark.inference.listing.list_sounds` gives them; never held as a list.
        out: The result; an earlier one is replaced when the new one is whole.
        form: ``"csv"``, ``"jsonl"`` or ``"parquet"``; by the ending of ``out`` if not given.
        top_k: Labels a file.
        reject: See `Classifier.classify`.
        engine: ``"local"``, or ``"ray"`` for all machines of a Ray cluster.
        classifier: The model, if it is loaded already.
        on_progress: Called with (files done, files).

    Raises:
        RunError: ``out`` cannot be written, what lies beside it belongs to another job, or a package is missing.
        ModelError: no such model.

    Example:
        >>> predict_archive("runs/latest", list_sounds(["archive/"]), "results.parquet")   # doctest: +SKIP
        ArchiveSummary(files=1000000, kept=0, faults=12, reasons=[…])
    """
    out = Path(out)
    form = form or guess_form(out)
    if form == "parquet":
        check_parquet()
    from earmark import __version__

    job = {"version": __version__, "model": hash_model(model), "top_k": top_k, "reject": reject}
    with open_shards(out, job) as shards:
        shards.settle(paths)
        summary = ArchiveSummary(shards.files)
        missing = shards.find_missing()
        summary.kept = shards.files - sum(map(shards.count_files, missing))
        count = _Count(summary, on_progress)
        if missing and engine == "ray":
            from earmark.inference.batch_ray import answer_on_ray

            for number, records in answer_on_ray(model, shards, missing, top_k=top_k, reject=reject):
                shards.write(number, records)
                count.add(len(records))
        elif missing:
            classifier = classifier or Classifier.from_pretrained(model)
            answers = count.pass_on(answer_shards(classifier, shards, missing, top_k=top_k, reject=reject))
            for number in missing:
                shards.write(number, islice(answers, shards.count_files(number)))
        shards.merge(_note_faults(shards.read(), summary), out, form)
    return summary


def guess_form(out: Path) -> str:
    """The form that the ending of a file's name asks for; CSV where it asks for none."""
    form = out.suffix.removeprefix(".").lower()
    return form if form in FORMATS else "csv"


def answer_shards(
    classifier: Classifier, shards: Shards, numbers: list[int], *, top_k: int, reject: bool
) -> Iterator[Record]:
    """The answers about some shards' files, in order."""
    groups = (group for number in numbers for group in cut_groups(shards.read_paths(number), FILES_AT_ONCE))
    few = sum(map(shards.count_files, numbers[:FEW_FILES])) < FEW_FILES
    decoding: AbstractContextManager[Decoders] = ThreadPoolExecutor(count_cores()) if few else DecoderProcesses()
    with decoding as decoders:
        answered = classifier.answer_groups(groups, decoders, top_k=top_k, reject=reject)
        yield from map(to_record, chain.from_iterable(answered))


class _Count:
    """How many files are done, told on."""

    def __init__(self, summary: ArchiveSummary, on_progress: Advance | None) -> None:
        self._done, self._files, self._tell = summary.kept, summary.files, on_progress
        self.add(0)

    def add(self, files: int) -> None:
        self._done += files
        if self._tell is not None:
            self._tell(self._done, self._files)

    def pass_on(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            self.add(1)
            yield record


def _note_faults(records: Iterable[Record], summary: ArchiveSummary) -> Iterator[Record]:
    for record in records:
        if "error" in record:
            summary.faults += 1
            if len(summary.reasons) < REASONS:
                summary.reasons.append(record["error"])
        yield record


def list_model_files(model: str) -> dict[str, Path]:
    """The files that a model's answers hang on, by their names: those of its directory, or the exported file alone."""
    place = Path(find_model(model))
    if place.is_file():
        return {place.name: place}
    return {path.name: path for path in sorted(place.iterdir()) if path.is_file() and path.suffix != ".md"}


def hash_model(model: str) -> str:
    """What tells one model from another, 32 hexadecimal digits.

    Raises:
        ModelError: no such model, or one that cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        for name, path in list_model_files(model).items():
            with path.open("rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()
            digest.update(name.encode() + b"\0" + content)
    except OSError as error:
        raise ModelError(
            f"{model} cannot be read ({error.strerror}); check its files and their permissions."
        ) from error
    return digest.hexdigest()
