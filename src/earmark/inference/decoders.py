"""Processes that do nothing but decode, ahead of a model: a file that kills one of them costs a row, not the run."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from earmark.cores import count_cores
from earmark.errors import RunError
from earmark.inference.loading import Loaded

Load = Callable[[list[str], int], list[Loaded]]


class DecoderProcesses:
    """As many processes as there are cores, started afresh, which import neither torch nor pandas.

    Args:
        workers: How many; one a core if not given.

    Example:
        >>> from earmark.inference.loading import load_files
        >>> with DecoderProcesses() as decoders:                                     # doctest: +SKIP
        ...     loaded = decoders.submit(load_files, ["dog.ogg"], 16_000).result()
    """

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or count_cores()
        self._lock = threading.Lock()
        self._pool = _start(self._workers)

    def __enter__(self) -> "DecoderProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, load: Load, paths: list[str], sample_rate: int) -> "_Loading":
        """Begin to decode some files; ask the answer for its ``result()``."""
        with self._lock:
            try:
                future = self._pool.submit(load, paths, sample_rate)
            except BrokenProcessPool:
                self._pool = _start(self._workers)
                future = self._pool.submit(load, paths, sample_rate)
        return _Loading(future, load, paths, sample_rate)


class _Loading:
    """Files that are being decoded; those of a process that died are decoded again, one by one."""

    def __init__(self, future: Future[list[Loaded]], load: Load, paths: list[str], sample_rate: int) -> None:
        self._future = future
        self._again = (load, paths, sample_rate)

    def result(self) -> list[Loaded]:
        try:
            return self._future.result()
        except BrokenProcessPool:
            return _load_one_by_one(*self._again)


def _load_one_by_one(load: Load, paths: list[str], sample_rate: int) -> list[Loaded]:
    """Decode files in one process after another, so that it shows which of them ends its process."""
    loaded: list[Loaded] = []
    while len(loaded) < len(paths):
        with _start(1) as pool:
            try:
                pool.submit(os.getpid).result()
            except BrokenProcessPool as error:
                raise RunError(
                    "No process can be started to decode in (out of memory, or a script without "
                    "`if __name__ == '__main__':`); mend that and run the same command again."
                ) from error
            try:
                while len(loaded) < len(paths):
                    loaded += pool.submit(load, paths[len(loaded) : len(loaded) + 1], sample_rate).result()
            except BrokenProcessPool:
                path = paths[len(loaded)]
                reason = f"{path} ended the process that decoded it (damaged, or too large for the memory); convert it."
                loaded.append(Loaded(path, None, reason))
    return loaded


def _start(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker)


def _prepare_worker() -> None:
    # Ctrl-C reaches every process of the terminal; the parent alone decides how to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    """End once the parent has: one that was killed cannot say so, and its pipes stay open between its children."""
    parent.join()
    os._exit(1)
