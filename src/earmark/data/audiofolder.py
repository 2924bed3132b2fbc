"""A folder of sounds with a ``metadata.csv``, as Hugging Face's ``audiofolder`` takes it."""

import os
from typing import Any

from earmark.data.clips import SPLIT_OF_WORD, Clips, build_clips, clean_label
from earmark.data.known import find_files, read_table, refuse_missing
from earmark.data.saved_dataset import GROUP_COLUMNS, LABEL_COLUMNS, LAYOUT
from earmark.data.tree import Tree


def read_audiofolder(tree: Tree) -> Clips | None:
    """Sounds listed with their labels in one ``metadata.csv``, or in one a split.

    The column ``file_name`` names each sound from the folder of the CSV; the label is in the column ``label``, or in
    another one named as labels usually are. Folders named like splits (train, test, …) give the split.

    Args:
        tree: What lies beneath the folder.

    Returns:
        The clips, or ``None`` where no ``metadata.csv`` has both columns.

    Raises:
        ClipsError: sounds that it names are missing.
    """
    rows: list[dict[str, Any]] = []
    for parts in sorted(parts for parts in tree.others if parts[-1].lower() == "metadata.csv"):
        path = tree.path.joinpath(*parts)
        table = read_table(path, ["file_name"])
        names = {} if table is None else {column.lower(): column for column in table.columns}
        label = next((names[name] for name in LABEL_COLUMNS if name in names), None)
        if table is None or label is None:
            return None
        group = next((names[name] for name in GROUP_COLUMNS if name in names), None)
        paths = find_files([path.parent], table["file_name"].tolist())
        refuse_missing(path, table["file_name"].tolist(), paths)
        for found, record in zip(paths, table.to_dict("records"), strict=True):
            row = {
                "path": os.path.abspath(found),
                "label": clean_label(record[label]),
                "split": _find_split(tree, found),
            }
            rows.append(row | {"group": record[group] or None if group else None})
    labelled = [row for row in rows if row["label"]]
    if not labelled:
        return None
    tree.passed_over["no label"] += len(rows) - len(labelled)
    tree.passed_over["not in metadata.csv"] += max(0, len(tree.sounds) - len(rows))
    if len({row["split"] for row in labelled}) < 2 or not all(row["split"] for row in labelled):
        for row in labelled:
            row["split"] = None
    return build_clips(labelled, source=str(tree.path), layout=LAYOUT, passed_over=tree.count_passed_over())


def _find_split(tree: Tree, path: str) -> str | None:
    """What the nearest folder above a sound that is named like a split means."""
    for name in reversed(os.path.relpath(path, tree.path).split(os.sep)[:-1]):
        if name.lower() in SPLIT_OF_WORD:
            return SPLIT_OF_WORD[name.lower()]
    return None
