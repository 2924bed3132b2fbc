"""`earmark cache`: what the store holds, how it keeps its limit, and what clearing takes and leaves."""

import os
import subprocess
import sys
import textwrap
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from earmark.cli.cache import show_size
from earmark.cli.main import app
from earmark.data.store import Store
from earmark.data.store_room import clear_store, describe_room, enforce_limit, read_limit
from earmark.errors import RunError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EARMARK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EARMARK_CACHE_LIMIT", raising=False)
    return tmp_path / "cache"


def write_noises(folder: Path, count: int, length: int = 1000) -> list[str]:
    paths = []
    folder.mkdir(exist_ok=True)
    for number in range(count):
        paths.append(str(folder / f"{number}.wav"))
        samples = np.random.default_rng((number, length)).integers(-9000, 9000, length).astype("<i2")
        with wave.open(paths[-1], "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(samples.tobytes())
    return paths


def store_noises(folder: Path, count: int, *, age_s: float = 0.0, rate: int = 8000) -> Path:
    """Store some sounds in a shard of their own, last used so long ago; give the shard."""
    store = Store(rate)
    (shard,) = {place.shard for place in store.prepare(write_noises(folder, count, 1000 + count)).stored.values()}
    path = store.folder / f"{shard}.f32"
    os.utime(path, (path.stat().st_mtime - age_s,) * 2)
    return path


def call(*arguments: str):
    result = CliRunner().invoke(app, ["cache", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_what_is_held_is_shown_rate_by_rate(tmp_path, cache):
    store = Store(16_000)
    kept = store.prepare(write_noises(tmp_path / "sounds", 3, 8000))
    store_noises(tmp_path / "others", 2)
    lines = [line.split() for line in call().stdout.splitlines()]
    assert lines[0] == ["rate", "files", "hours", "size", "in", "use"]
    assert lines[1] == ["8,000", "Hz", "2", "0.0", "8.0", "kB", "0", "B"]
    assert lines[2] == ["16,000", "Hz", "3", "0.0", "192.0", "kB", "192.0", "kB"]
    assert lines[3] == ["200.0", "kB", "in", str(cache / "store")]
    assert lines[4][:3] == ["Limit:", "50.0", "GB,"]
    (_, room) = describe_room()
    assert (room.sample_rate, room.files, room.duration_s) == (16_000, 3, 3.0)
    assert sum(place.length for place in kept.stored.values()) == 48_000


def test_an_empty_store_is_no_fault(cache):
    assert call().stdout.splitlines()[0] == f"Nothing is stored in {cache / 'store'}."
    assert call("clear").stdout == "Freed 0 B: the sound of 0 files.\n"


def test_clearing_frees_all_and_the_next_run_decodes_again(tmp_path):
    shard = store_noises(tmp_path / "sounds", 4)
    assert call("clear").stdout == "Freed 16.1 kB: the sound of 4 files.\n"
    assert not shard.exists()
    assert Store(8000).prepare(write_noises(tmp_path / "sounds", 4, 1004)).decoded == 4


def test_what_a_run_is_using_stays(tmp_path):
    paths = write_noises(tmp_path / "sounds", 3)
    store = Store(8000)
    used = store.prepare(paths).stored
    store_noises(tmp_path / "others", 2)
    first, second = call("clear").stdout.splitlines()
    assert first == "Freed 8.0 kB: the sound of 2 files."
    assert second == "12.0 kB stay, because a run is using them."
    assert len(store.read(used[paths[0]])) == 1000
    assert Store(8000).prepare(paths).decoded == 0
    del store
    assert call("clear").stdout.splitlines()[0].startswith("Freed 12.0 kB")


HOLDS = """
    import sys
    from earmark.data.store import Store

    store = Store(8000)
    store.prepare(sys.argv[1:])
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_another_process_holds_what_it_uses_until_it_dies(tmp_path):
    paths = write_noises(tmp_path / "sounds", 3)
    command = [sys.executable, "-c", textwrap.dedent(HOLDS), *paths]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    assert clear_store().size == 0
    process.kill()
    process.communicate()
    assert (clear_store().files, clear_store().size) == (3, 0)
    assert not list((tmp_path / "cache").rglob("*.lease"))
    assert not list((tmp_path / "cache").rglob("*.shards"))


def test_while_a_run_decodes_nothing_of_that_rate_is_taken(tmp_path):
    store_noises(tmp_path / "old", 2, age_s=1000)
    freed = []
    Store(8000).prepare(
        write_noises(tmp_path / "sounds", 3), on_progress=lambda done, total: freed.append(clear_store().size)
    )
    assert freed == [0, 0, 0]
    assert clear_store().files == 5


def test_beyond_the_limit_the_longest_unused_goes_first(tmp_path, monkeypatch):
    oldest, middle = (
        store_noises(tmp_path / f"{age}", 5, age_s=age, rate=rate) for age, rate in ((900, 8000), (500, 16_000))
    )
    newest = store_noises(tmp_path / "new", 6, age_s=100)
    room = oldest.stat().st_size + middle.stat().st_size + newest.stat().st_size
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", f"{room}B")
    Store(8000).prepare([])
    assert all(shard.exists() for shard in (oldest, middle, newest))
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", str(room - 1))
    Store(8000).prepare([])
    assert [shard.exists() for shard in (oldest, middle, newest)] == [False, True, True]
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", str(newest.stat().st_size))
    Store(32_000).prepare([])
    assert [shard.exists() for shard in (oldest, middle, newest)] == [False, False, True]


def test_what_is_used_again_is_young_again_and_what_is_needed_now_stays(tmp_path, monkeypatch):
    old = store_noises(tmp_path / "old", 5, age_s=900)
    young = store_noises(tmp_path / "young", 6, age_s=100)
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", "1B")
    store = Store(8000)
    assert store.prepare(sorted(map(str, (tmp_path / "old").iterdir()))).decoded == 0
    assert (old.exists(), young.exists()) == (True, False)
    assert enforce_limit(old.parents[1]).in_use == old.stat().st_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("20GB", 20 * 10**9), ("1.5 mb", 1_500_000), ("7", 7), ("none", None), ("", 50 * 10**9), ("100kB", 100_000)],
)
def test_the_limit_is_read_as_people_write_sizes(monkeypatch, text, size):
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", text)
    assert read_limit() == size


def test_a_limit_that_is_no_size_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", "plenty")
    with pytest.raises(RunError, match="EARMARK_CACHE_LIMIT is 'plenty', which is no size; give one such as 20GB"):
        call()
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", "none")
    assert "Limit: none (EARMARK_CACHE_LIMIT)" in call().stdout


def test_no_limit_takes_nothing(tmp_path, monkeypatch):
    shard = store_noises(tmp_path / "old", 2, age_s=10**6)
    monkeypatch.setenv("EARMARK_CACHE_LIMIT", "none")
    Store(8000).prepare([])
    assert shard.exists()


def test_sizes_are_told_in_units_of_a_thousand():
    assert [show_size(size) for size in (0, 999, 1000, 10**9)] == ["0 B", "999 B", "1.0 kB", "1.0 GB"]
