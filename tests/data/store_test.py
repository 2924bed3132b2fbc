"""The store: every file decoded once, by content, whole after any kill, the same from one process or many."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.data import store as store_module
from earmark.data.store import Store, find_cache_folder, hash_file
from earmark.errors import RunError
from earmark.sound.decode import decode

RATE = 16_000


def write_wav(path: Path, samples: np.ndarray, rate: int = 8000) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
    return str(path)


def write_noises(folder: Path, count: int, first: int = 0, length: int = 800) -> list[str]:
    """Noises of different lengths, so that samples taken from a wrong place show."""
    return [
        write_wav(folder / f"{i:03d}.wav", np.random.default_rng(i).uniform(-0.5, 0.5, length + i))
        for i in range(first, first + count)
    ]


def assert_holds(store: Store, preparation: store_module.Preparation, paths: list[str]) -> None:
    """Every file is stored, and its samples are those that `decode` gives, bit for bit."""
    assert set(preparation.stored) == set(paths)
    for path in paths:
        np.testing.assert_array_equal(
            store.read(preparation.stored[path]), decode(path, sample_rate=store.sample_rate)[0]
        )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(RATE, tmp_path / "store")


def test_samples_are_those_of_decode_bit_for_bit(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 6)
    preparation = store.prepare(paths)
    assert preparation.decoded == 6
    assert_holds(store, preparation, paths)
    part = store.read(preparation.stored[paths[0]], 10, 20)
    np.testing.assert_array_equal(part, decode(paths[0], sample_rate=RATE)[0][10:20])
    assert part.dtype == np.float32
    assert not part.flags.writeable


def test_reading_never_runs_into_the_next_file(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 2)
    first = store.prepare(paths).stored[paths[0]]
    assert len(store.read(first, 0, first.length + 500)) == first.length


def test_second_prepare_decodes_nothing(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 5)
    store.prepare(paths)
    seen: list[tuple[int, int]] = []
    again = Store(RATE, tmp_path / "store")
    preparation = again.prepare(paths, on_progress=lambda done, total: seen.append((done, total)))
    assert preparation.decoded == 0
    assert seen == []
    assert_holds(again, preparation, paths)


def test_ten_files_added_to_fifty_decode_ten(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 50)
    store.prepare(paths, workers=1)
    paths += write_noises(tmp_path / "sounds", 10, first=50)
    seen: list[tuple[int, int]] = []
    preparation = store.prepare(paths, workers=1, on_progress=lambda done, total: seen.append((done, total)))
    assert preparation.decoded == 10
    assert seen == [(done, 10) for done in range(1, 11)]
    assert_holds(store, preparation, paths)


def test_a_damaged_index_costs_a_decoding_and_no_more(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 2)
    store.prepare(paths)
    index = store.folder / "index.npz"
    index.write_bytes(index.read_bytes()[:100])
    again = Store(RATE, tmp_path / "store")
    preparation = again.prepare(paths)
    assert preparation.decoded == 2
    assert_holds(again, preparation, paths)


def test_renamed_and_copied_files_decode_nothing(tmp_path: Path, store: Store) -> None:
    """The key is the content; also for the process that decoded it in the first place."""
    first, second = write_noises(tmp_path / "sounds", 2)
    store.prepare([first, second])
    moved = str(Path(first).rename(tmp_path / "moved.wav"))
    copied = shutil.copy(second, tmp_path / "copied.wav")
    preparation = store.prepare([moved, copied])
    assert preparation.decoded == 0
    assert_holds(store, preparation, [moved, copied])


def test_a_touched_file_decodes_nothing(tmp_path: Path, store: Store) -> None:
    (path,) = write_noises(tmp_path, 1)
    store.prepare([path])
    os.utime(path, ns=(1, 1))
    assert store.prepare([path]).decoded == 0


def test_a_changed_file_decodes_anew(tmp_path: Path, store: Store) -> None:
    (path,) = write_noises(tmp_path, 1)
    before = store.prepare([path])
    write_wav(Path(path), np.random.default_rng(99).uniform(-0.5, 0.5, 800))
    os.utime(path, ns=(7, 7))  # a clock may be too coarse to tell the two apart
    after = store.prepare([path])
    assert after.decoded == 1
    assert after.keys[path] != before.keys[path]
    assert after.keys[path] == hash_file(path)
    assert_holds(store, after, [path])


def test_each_rate_has_its_own_samples(tmp_path: Path) -> None:
    (path,) = write_noises(tmp_path, 1)
    for rate in (8000, 22_050):
        store = Store(rate, tmp_path / "store")
        preparation = store.prepare([path])
        assert preparation.decoded == 1
        assert_holds(store, preparation, [path])


def test_undecodable_files_are_named_with_their_reason(tmp_path: Path, store: Store) -> None:
    good = write_noises(tmp_path / "sounds", 3)
    empty, text, missing = (str(tmp_path / name) for name in ("empty.wav", "words.mp3", "missing.wav"))
    Path(empty).touch()
    Path(text).write_text("this is no sound", encoding="utf-8")
    preparation = store.prepare([good[0], empty, good[1], text, missing, good[2]])
    assert set(preparation.failures) == {empty, text, missing}
    assert all(Path(path).name in reason for path, reason in preparation.failures.items())
    assert preparation.decoded == 3
    assert_holds(store, preparation, good)  # what a failure left behind displaces nothing


def test_a_truncated_file_keeps_its_remark(tmp_path: Path, store: Store) -> None:
    (path,) = write_noises(tmp_path, 1, length=4000)
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: len(content) // 2])
    remark = store.prepare([path]).remarks[path]
    assert "cut" in remark or "truncated" in remark
    assert store.prepare([path]).remarks[path] == remark  # and tells it again when nothing is decoded


def test_parallel_workers_give_what_one_process_gives(tmp_path: Path) -> None:
    paths = write_noises(tmp_path / "sounds", 12)
    bad = str(tmp_path / "bad.wav")
    Path(bad).write_bytes(b"RIFF")
    seen = []
    store = Store(RATE, tmp_path / "parallel")
    preparation = store.prepare([*paths, bad], workers=2, on_progress=lambda done, total: seen.append((done, total)))
    assert preparation.decoded == 12
    assert seen == [(done, 13) for done in range(1, 14)]
    assert_holds(store, preparation, paths)
    alone = Store(RATE, tmp_path / "alone").prepare([*paths, bad], workers=1)
    assert preparation.keys == alone.keys
    assert preparation.failures == alone.failures
    assert len({place.shard for place in alone.stored.values()}) == 1


def test_long_files_are_streamed_and_equal_the_whole(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.sin(np.arange(25 * 8000) * 0.05) * 0.5
    path = write_wav(tmp_path / "long.wav", samples)
    monkeypatch.setattr(store_module, "WHOLE_FILE_BYTES", 1000)
    # The file is never decoded whole: memory must stay bounded whatever its length.
    monkeypatch.setattr(store_module, "decode", lambda *_, **__: pytest.fail("decoded whole"))
    stored = store.prepare([path]).stored[path]
    whole = decode(path, sample_rate=RATE)[0]
    assert stored.length == len(whole)
    np.testing.assert_allclose(store.read(stored), whole, atol=1e-5)


def test_a_long_file_that_breaks_off_leaves_nothing_behind(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first blocks were written when the fault showed."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 120 * 8000).astype(np.float32)
    samples[-100:] = np.nan
    broken = str(tmp_path / "broken.wav")
    soundfile.write(broken, samples, 8000, subtype="FLOAT")
    good = write_noises(tmp_path / "sounds", 2)
    monkeypatch.setattr(store_module, "WHOLE_FILE_BYTES", 100_000)
    preparation = store.prepare([good[0], broken, good[1]])
    assert set(preparation.failures) == {broken}
    assert_holds(store, preparation, good)
    stored = sum(place.length for place in preparation.stored.values())
    assert sum(shard.stat().st_size for shard in store.folder.glob("*.f32")) == 4 * stored


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (path,) = write_noises(tmp_path, 1)
    occupied = tmp_path / "file"
    occupied.write_text("not a folder", encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot be written \(Not a directory\); set EARMARK_CACHE"):
        Store(RATE, occupied).prepare([path])
    (tmp_path / "store" / f"{RATE}hz" / ".lock").mkdir(parents=True)
    with pytest.raises(RunError, match="set EARMARK_CACHE"):
        Store(RATE, tmp_path / "store").prepare([path])


def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "elsewhere"))
    assert find_cache_folder() == tmp_path / "elsewhere"
    (path,) = write_noises(tmp_path, 1)
    Store(RATE).prepare([path])
    assert (tmp_path / "elsewhere" / "store" / f"{RATE}hz" / "index.npz").is_file()


def test_a_broken_off_prepare_keeps_what_it_decoded(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 6)

    def break_off(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.prepare(paths, workers=1, on_progress=break_off)
    preparation = store.prepare(paths, workers=1)
    assert preparation.decoded == 2
    assert_holds(store, preparation, paths)


KILLED = """
    import os, signal, sys
    from earmark.data import store as module

    folder, rate, *paths = sys.argv[1:]
    module.COMMIT_EVERY_S = 0.0  # commit after every file

    def kill(done, total):
        if done == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    module.Store(int(rate), folder).prepare(paths, workers=1, on_progress=kill)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_kill_in_the_middle_costs_only_what_was_not_committed(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 9)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "store"), str(RATE), *paths]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    preparation = store.prepare(paths)
    assert preparation.decoded == 5  # the fifth was decoded, but its commit comes after the kill
    assert_holds(store, preparation, paths)


WORKER_DIES = """
    import os, sys
    from earmark.data import store as module
    from earmark.errors import RunError

    folder, rate, *paths = sys.argv[1:]
    decode = module.decode

    def die(path, **settings):
        if path == paths[-1]:
            os._exit(1)
        return decode(path, **settings)

    module.decode = die  # a spawned worker runs this again, as `__mp_main__`
    if __name__ == "__main__":
        try:
            module.Store(int(rate), folder).prepare(paths, workers=2)
        except RunError as error:
            sys.exit(str(error))
"""


def test_a_worker_that_dies_is_one_sentence_and_nothing_is_wrong_afterwards(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 16)
    script = tmp_path / "dies.py"
    script.write_text(textwrap.dedent(WORKER_DIES), encoding="utf-8")
    command = [sys.executable, str(script), str(tmp_path / "store"), str(RATE), *paths]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "A decoding process died" in done.stderr
    assert "Traceback" not in done.stderr
    preparation = store.prepare(paths)
    assert 4 <= preparation.decoded < 16  # the task that died, and what had not come back before it
    assert_holds(store, preparation, paths)


PREPARES = """
    import sys, time
    from earmark.data import store as module

    folder, rate, *paths = sys.argv[1:]
    module.COMMIT_EVERY_S = 0.0  # many commits, to get into each other's way
    print("ready", flush=True)
    sys.stdin.readline()
    # A pause after each file, so that the other finds the lock free now and then.
    module.Store(int(rate), folder).prepare(paths, workers=1, on_progress=lambda done, total: time.sleep(0.03))
"""


def test_two_processes_at_once_end_with_a_whole_index(tmp_path: Path, store: Store) -> None:
    paths = write_noises(tmp_path / "sounds", 24)
    halves = (paths[:16], paths[8:])  # they share eight files
    command = [sys.executable, "-c", textwrap.dedent(PREPARES), str(tmp_path / "store"), str(RATE)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([*command, *half], **pipes) for half in halves]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0]
    preparation = store.prepare(paths)
    assert preparation.decoded == 0
    assert_holds(store, preparation, paths)


def test_samples_that_no_index_names_are_removed_after_a_day(tmp_path: Path, store: Store) -> None:
    (path,) = write_noises(tmp_path, 1)
    named = store.prepare([path]).stored[path].shard
    for name in ("old", "new"):
        (store.folder / f"{name}.f32").write_bytes(b"\0" * 8)
    for name in ("old", named):
        os.utime(store.folder / f"{name}.f32", (0, 0))
    store.prepare([path])
    assert {shard.stem for shard in store.folder.glob("*.f32")} == {"new", named}
