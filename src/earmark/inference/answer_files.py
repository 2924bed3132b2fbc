"""Answers as files: one line of JSON a sound, one row of CSV or Parquet a label."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from earmark.errors import RunError
from earmark.inference.classifier import FileAnswer

Record = dict[str, Any]
"""``{"path", "prediction": [{"label", "score"}, …]}``, or ``{"path", "error"}``."""

FORMATS = ("csv", "jsonl", "parquet")
COLUMNS = ("path", "rank", "label", "score", "error")
ROWS_AT_ONCE = 1 << 16


def to_record(answer: FileAnswer) -> Record:
    """What is written of one answer.

    A name that is no text, as old disks hold some, has its bytes written as ``\\\\xff``.
    """
    path = answer.path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    if answer.prediction is None:
        return {"path": path, "error": answer.reason}
    return {"path": path, "prediction": answer.prediction}


def to_line(record: Record) -> str:
    """A record as a line of JSON."""
    return json.dumps(record, ensure_ascii=False) + "\n"


def write_records(records: Iterable[Record], path: Path, form: str) -> None:
    """Write answers, one after another, in bounded memory.

    Args:
        records: As `to_record` gives them.
        path: The file.
        form: One of ``FORMATS``.

    Raises:
        RunError: Parquet without pyarrow.
    """
    if form == "parquet":
        _write_parquet(records, path)
        return
    with open(path, "w", encoding="utf-8", newline="") as file:
        write_stream(records, file, form)


def write_stream(records: Iterable[Record], file: TextIO, form: str) -> None:
    """Write answers as text, ``"csv"`` or ``"jsonl"``, each as it comes."""
    if form == "jsonl":
        file.writelines(map(to_line, records))
        return
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for record in records:
        for path, rank, label, score, error in _to_rows(record):
            writer.writerow([path, "", "", "", error] if rank is None else [path, rank, label, f"{score:.6g}", ""])


def _to_rows(record: Record) -> Iterator[tuple[Any, ...]]:
    if "error" in record:
        yield record["path"], None, None, None, record["error"]
    for rank, entry in enumerate(record.get("prediction", ()), start=1):
        yield record["path"], rank, entry["label"], entry["score"], None


def check_parquet() -> None:
    """See that Parquet can be written.

    Raises:
        RunError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise RunError('Parquet is written by pyarrow; run `pip install "earmark[parquet]"`, or write CSV.') from error


def _write_parquet(records: Iterable[Record], path: Path) -> None:
    check_parquet()
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = (pa.string(), pa.int32(), pa.string(), pa.float64(), pa.string())
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    rows = (row for record in records for row in _to_rows(record))
    with pq.ParquetWriter(path, schema) as writer:
        while chunk := list(islice(rows, ROWS_AT_ONCE)):
            columns = zip(*chunk, strict=True)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
