"""Write the manifest of ESC-10's folder layout: label from the folder, fold and source recording from the file name.

``001 - Dog bark/1-100032-A.ogg`` is a dog bark of fold 1, take A of recording 100032.

Usage: python benchmarks/esc10_manifest.py ESC10_FOLDER esc10.csv
"""

import argparse
from pathlib import Path

import pandas as pd

from earmark.data.clips import read_csv


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    rows = []
    for path in sorted(options.folder.glob("[0-9]* - */*.*")):
        fold, recording, _ = path.stem.split("-")
        label = path.parent.name.split(" - ", 1)[1]
        rows.append({"path": path.resolve(), "label": label, "fold": fold, "group": recording})
    pd.DataFrame(rows).to_csv(options.out, index=False)
    clips = read_csv(options.out)
    print(f"{len(clips)} clips of {len(clips.labels)} classes: {options.out}")


if __name__ == "__main__":
    main()
