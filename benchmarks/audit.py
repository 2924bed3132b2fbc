"""Claim: an audit of 400 five-second clips takes less than 30 seconds on two cores after decoding.

Decoding, the rest of the look at every file, and each later step are timed apart. Decoding is summed over the processes
that do it at the same time, so its share of the wall clock is that sum divided by their number. Where other programs
use the machine, the wall clock says little: processor seconds stand beside it, all processes together and with all that
they import; decoding is done once more, alone, to know its part of them. The page is drawn and timed, too.

Usage: python benchmarks/audit.py SOUNDS [--workers 2]
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from earmark.data.layouts import read_clips
from earmark.evaluation.audit import audit
from earmark.evaluation.audit_page import write_audit_page
from earmark.sound.decode import decode_channels


def measure_processor_s() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    clips = read_clips(arguments.sounds)
    load = os.getloadavg()[0]
    began, began_processor = time.perf_counter(), measure_processor_s()
    found = audit(clips, workers=arguments.workers)
    wall_s, processor_s = time.perf_counter() - began, measure_processor_s() - began_processor
    began, began_processor = time.perf_counter(), measure_processor_s()
    with tempfile.TemporaryDirectory() as folder:
        page = write_audit_page(found, Path(folder) / "audit.html")
        size_mb = page.stat().st_size / 1e6
    page_s, page_processor_s = time.perf_counter() - began, measure_processor_s() - began_processor
    decode_s = found.timing.pop("decode_s")
    began_processor = measure_processor_s()
    for path in clips.table["path"]:
        decode_channels(path)
    decode_processor_s = measure_processor_s() - began_processor
    print(f"{len(clips)} clips, {arguments.workers} workers, load average at the start {load:.1f}")
    for step, seconds in found.timing.items():
        print(f"  {step:20s} {seconds:7.1f} s")
    print(f"decoding, all processes  {decode_s:7.1f} s")
    print(f"audit, wall clock        {wall_s:7.1f} s, after decoding {wall_s - decode_s / arguments.workers:.1f} s")
    print(f"audit, processor         {processor_s:7.1f} s, after decoding {processor_s - decode_processor_s:.1f} s")
    print(f"page                     {page_s:7.1f} s, processor {page_processor_s:.1f} s, {size_mb:.1f} MB")


if __name__ == "__main__":
    main()
