"""Claim: ``earmark --help`` answers in less than 0.4 of the time that ``python -c "import torch"`` takes.

Usage: python benchmarks/startup.py [--rounds 9]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COMMANDS = {
    "earmark --help": [str(Path(sys.executable).with_name("earmark")), "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            if number:  # the first round fills the file cache
                seconds[name].append(time.perf_counter() - began)
    help_s, torch_s = (np.array(values) for values in seconds.values())
    ratio = help_s / torch_s
    print(
        f"earmark --help / import torch: {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}), "
        f"{np.median(help_s):.2f} s and {np.median(torch_s):.2f} s, {rounds} rounds"
    )


if __name__ == "__main__":
    main()
