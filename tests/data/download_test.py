"""Known datasets fetched from a server of our own: whole, broken off, damaged, missing, in other packings."""

import hashlib
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from earmark.data import catalogue, transfer
from earmark.data.catalogue import KNOWN_DATASETS, KnownDataset, Source, find_dataset
from earmark.data.download import download_dataset
from earmark.data.layouts import read_clips
from earmark.errors import DownloadError


@dataclass
class Server:
    """Answers with ``files``; each entry of ``stops`` breaks one answer off after so many bytes."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    stops: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    has_ranges: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.asked.append((request.path, wanted))
        content = self.files.get(request.path)
        status = self.statuses.pop(0) if self.statuses else 404 if content is None else 200
        if status != 200 or content is None:
            request.send_response(status)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if wanted and self.has_ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                request.send_response(416)
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            content = content[start:]
        else:
            request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: self.stops.pop(0)] if self.stops else content)


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setattr(transfer, "PAUSE_S", 0.0)
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=web.serve_forever, args=(0.01,))
    thread.start()
    state.address = f"http://127.0.0.1:{web.server_port}"
    yield state
    web.shutdown()
    thread.join()
    web.server_close()


Publish = Callable[..., KnownDataset]


@pytest.fixture
def publish(monkeypatch) -> Publish:
    """Let a known dataset be tiny, and be published at these sources."""

    def publish_dataset(name: str, clips: int, *sources: Source, **changes: object) -> KnownDataset:
        dataset = replace(find_dataset(name), clips=clips, sources=sources, unpacked_size=1000, **changes)
        monkeypatch.setattr(catalogue, "KNOWN_DATASETS", (dataset,))
        return dataset

    return publish_dataset


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def clip(name: str) -> bytes:
    """What stands for a sound: bytes that gzip cannot make small, the same for the same name."""
    return b"".join(hashlib.sha256(f"{name}{block}".encode()).digest() for block in range(2000))


GTZAN = {f"genres/{genre}/{genre}.0000{n}.au": clip(f"{genre}{n}") for genre in ("blues", "rock") for n in range(3)}
ESC_TABLE = b"filename,fold,target,category,esc10,src_file,take\n" + b"".join(
    f"1-{n}-A-{n}.wav,1,{n},{name},{name == 'dog'},{n},A\n".encode() for n, name in enumerate(("dog", "cat", "dog"))
)
ESC_CLIPS = {f"1-{n}-A-{n}.wav": clip(f"esc{n}") for n in range(3)}
URBAN_CLIPS = {f"fold{n}/{n}00-3-0-{n}.wav": clip(f"urban{n}") for n in (1, 10)}


def pack_tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def pack_zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in files.items():
            container.writestr(name, content)
    return packed.getvalue()


def below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dataset_is_fetched_checked_unpacked_and_nothing_else_is_left(server, publish, tmp_path):
    archive = server.files["/genres.tar.gz"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/genres.tar.gz", 1, sha256(archive)))
    done = download_dataset("GTZAN", tmp_path / "new" / "data")
    assert done.folder == tmp_path / "new" / "data" / "genres"
    assert (done.clips, done.is_new, done.remarks) == (6, True, ())
    assert below(tmp_path) == {f"new/data/{name}": content for name, content in GTZAN.items()}


def test_a_dataset_that_stands_there_is_left_alone(server, publish, tmp_path):
    archive = server.files["/genres.tar.gz"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/genres.tar.gz", 1, sha256(archive)))
    download_dataset("gtzan", tmp_path)
    server.asked.clear()
    done = download_dataset("gtzan", tmp_path)
    assert (done.clips, done.is_new) == (6, False)
    assert server.asked == []


def test_a_folder_of_that_name_with_other_things_in_it_is_not_touched(publish, tmp_path):
    publish("gtzan", 6)
    (tmp_path / "genres").mkdir()
    (tmp_path / "genres" / "mine.txt").write_text("mine")
    with pytest.raises(DownloadError, match=r"with 0 of the 6 clips of GTZAN: rename or remove it"):
        download_dataset("gtzan", tmp_path)
    assert below(tmp_path) == {"genres/mine.txt": b"mine"}


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.stops = [131_072, 65_536]
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert server.asked == [("/a", None), ("/a", "bytes=131072-"), ("/a", "bytes=196608-")]


def test_a_transfer_that_nothing_comes_of_is_given_up_and_goes_on_at_the_next_call(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.stops = [131_072] + [0] * transfer.ATTEMPTS
    with pytest.raises(DownloadError, match=r"broke off at 131,072 bytes .*: run the command again to go on"):
        download_dataset("gtzan", tmp_path)
    assert not (tmp_path / "genres").exists()
    server.asked.clear()
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert server.asked == [("/a", "bytes=131072-")]


def test_what_one_mirror_began_another_ends(server, publish, tmp_path, monkeypatch):
    archive = server.files["/one/datasets/x/a"] = server.files["/two/datasets/x/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source("https://huggingface.co/datasets/x/a", len(archive), sha256(archive)))
    monkeypatch.setenv("HF_ENDPOINT", f"{server.address}/one")
    server.stops = [131_072] + [0] * transfer.ATTEMPTS
    with pytest.raises(DownloadError, match="broke off"):
        download_dataset("gtzan", tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", f"{server.address}/two/")
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert server.asked[-1] == ("/two/datasets/x/a", "bytes=131072-")


def test_a_server_that_cannot_send_a_rest_sends_all_again(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.has_ranges = False
    server.stops = [131_072]
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert server.asked == [("/a", None), ("/a", "bytes=131072-")]


def test_a_server_that_always_breaks_off_at_the_same_byte_is_given_up(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.has_ranges = False
    server.stops = [131_072] * 50
    with pytest.raises(DownloadError, match="broke off at 131,072 bytes"):
        download_dataset("gtzan", tmp_path)
    assert len(server.asked) == 1 + transfer.ATTEMPTS


def test_a_busy_server_is_asked_again_while_there_is_something_to_lose(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.stops = [131_072]
    server.statuses = [200, 503, 429]
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert [wanted for _, wanted in server.asked] == [None, *["bytes=131072-"] * 3]


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    server.stops = [131_072] + [0] * transfer.ATTEMPTS
    with pytest.raises(DownloadError, match="broke off"):
        download_dataset("gtzan", tmp_path)
    (part,) = tmp_path.glob(".*.part")
    part.write_bytes(bytes(len(archive) + 1))
    assert download_dataset("gtzan", tmp_path).clips == 6


def test_a_damaged_archive_is_named_removed_and_fetched_anew(server, publish, tmp_path):
    archive = pack_tar(GTZAN)
    server.files["/a"] = damaged = archive[:1000] + b"damage" + archive[1006:]
    publish("gtzan", 6, Source(f"{server.address}/a", len(archive), sha256(archive)))
    said = f"checksum {sha256(damaged)}, not {sha256(archive)} as published.*removed; run the command again"
    with pytest.raises(DownloadError, match=said):
        download_dataset("gtzan", tmp_path)
    assert below(tmp_path) == {}
    server.files["/a"] = archive
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert server.asked == [("/a", None), ("/a", None)]


def test_where_one_source_has_nothing_the_next_is_asked(server, publish, tmp_path):
    archive = server.files["/b"] = pack_tar(GTZAN)
    gone = Source(f"{server.address}/gone", 1, "sha256:0")
    publish("gtzan", 6, gone, Source(f"{server.address}/b", 1, sha256(archive)))
    assert download_dataset("gtzan", tmp_path).clips == 6
    assert [path for path, _ in server.asked] == ["/gone", "/b"]


def test_where_no_source_has_it_all_reasons_and_the_ways_out_are_told(server, publish, tmp_path):
    nobody = Source("http://127.0.0.1:9/a", 1)
    publish("gtzan", 6, Source(f"{server.address}/gone", 1), nobody)
    said = r"/gone answers 404 \(Not Found\); http://127.0.0.1:9/a cannot be reached.*HF_ENDPOINT.*--from ARCHIVE"
    with pytest.raises(DownloadError, match=said):
        download_dataset("gtzan", tmp_path)
    assert below(tmp_path) == {}


def test_an_address_that_makes_no_sense_is_told(publish, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "mirror")
    publish("gtzan", 6, Source("https://huggingface.co/a", 1))
    with pytest.raises(DownloadError, match=r"mirror/a cannot be asked \(Invalid URL"):
        download_dataset("gtzan", tmp_path)


def test_without_a_published_checksum_the_clips_are_counted_and_the_sum_is_told(server, publish, tmp_path):
    root = "ESC-50-33c8ce9eb2cf/"
    files = {f"{root}audio/{name}": content for name, content in ESC_CLIPS.items()}
    archive = server.files["/e.zip"] = pack_zip(files | {f"{root}meta/esc50.csv": ESC_TABLE, f"{root}LICENSE": b"by"})
    publish("esc50", 3, Source(f"{server.address}/e.zip", 1))
    done = download_dataset("esc50", tmp_path)
    assert len(done.remarks) == 1
    assert sha256(archive) in done.remarks[0]
    assert set(below(tmp_path / "ESC-50-master")) == {*(f"audio/{n}" for n in ESC_CLIPS), "meta/esc50.csv", "LICENSE"}


def test_without_a_published_checksum_a_clip_too_few_is_refused_and_the_archive_removed(server, publish, tmp_path):
    files = {f"x/recordings/{n}_theo_0.wav": clip(str(n)) for n in range(3)}
    server.files["/f.zip"] = pack_zip(files)
    publish("fsdd", 4, Source(f"{server.address}/f.zip", 1))
    with pytest.raises(DownloadError, match=r"holds 3 of the 4 clips .* has been removed; run the command again"):
        download_dataset("fsdd", tmp_path)
    assert below(tmp_path) == {}
    server.files["/f.zip"] = pack_zip(files | {"x/recordings/3_theo_0.wav": b"3"})
    assert download_dataset("fsdd", tmp_path).clips == 4


def test_esc10_is_what_its_column_says(server, publish, tmp_path):
    files = {f"r/audio/{name}": content for name, content in ESC_CLIPS.items()} | {"r/meta/esc50.csv": ESC_TABLE}
    server.files["/e.zip"] = pack_zip(files)
    publish("esc10", 2, Source(f"{server.address}/e.zip", 1))
    done = download_dataset("esc10", tmp_path)
    assert done.clips == 2
    assert sorted(path.name for path in (done.folder / "audio").iterdir()) == ["1-0-A-0.wav", "1-2-A-2.wav"]
    assert (done.folder / "meta" / "esc50.csv").read_bytes() == ESC_TABLE


def test_too_little_room_is_told_before_anything_is_fetched(server, publish, tmp_path, monkeypatch):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", 3_000_000_000, sha256(archive)))
    usage = type("Usage", (), {"free": 2_000_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match=r"GTZAN needs about 3.0 GB in .*, where 2.0 GB are free"):
        download_dataset("gtzan", tmp_path)
    assert server.asked == []


def test_two_at_once_do_not_write_the_same_file(publish, tmp_path):
    publish("gtzan", 6)
    with (
        FileLock(tmp_path / ".genres.lock"),
        pytest.raises(DownloadError, match="by another process: wait for it"),
    ):
        download_dataset("gtzan", tmp_path)


def test_what_a_killed_run_left_half_unpacked_is_cleared_away(server, publish, tmp_path):
    archive = server.files["/a"] = pack_tar(GTZAN)
    publish("gtzan", 6, Source(f"{server.address}/a", 1, sha256(archive)))
    (tmp_path / ".genres.abc.unpacking" / "archive").mkdir(parents=True)
    (tmp_path / ".genres.abc.unpacking" / "archive" / "a.au").write_bytes(b"half")
    download_dataset("gtzan", tmp_path)
    assert below(tmp_path) == GTZAN


def test_a_folder_that_cannot_be_written_is_an_error_of_the_system_with_its_name(publish, tmp_path):
    publish("gtzan", 6)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file") as caught:
        download_dataset("gtzan", tmp_path / "file")
    assert caught.value.filename is not None


KAGGLE = {
    "gtzan": (
        {name.replace("genres/", "Data/genres_original/").replace(".au", ".wav"): GTZAN[name] for name in GTZAN}
        | {"Data/images_original/rock/rock00001.png": b"png", "Data/features_30_sec.csv": b"a,b\n"},
        6,
        {name.removeprefix("genres/").replace(".au", ".wav"): GTZAN[name] for name in GTZAN},
    ),
    "urbansound8k": (
        URBAN_CLIPS | {"UrbanSound8K.csv": b"table"},
        2,
        {f"audio/{name}": URBAN_CLIPS[name] for name in URBAN_CLIPS} | {"metadata/UrbanSound8K.csv": b"table"},
    ),
    "esc50": (
        {f"audio/audio/{name}": ESC_CLIPS[name] for name in ESC_CLIPS}
        | {f"audio/audio/16000/{name}": b"16" for name in ESC_CLIPS}
        | {"esc50.csv": ESC_TABLE},
        3,
        {f"audio/{name}": ESC_CLIPS[name] for name in ESC_CLIPS}
        | {f"audio/16000/{name}": b"16" for name in ESC_CLIPS}
        | {"meta/esc50.csv": ESC_TABLE},
    ),
}


@pytest.mark.parametrize("name", KAGGLE)
def test_the_copies_of_kaggle_get_the_published_layout(publish, tmp_path, name):
    packed, clips, expected = KAGGLE[name]
    (tmp_path / "kaggle.zip").write_bytes(pack_zip(packed))
    publish(name, clips, Source("http://127.0.0.1:9/never-asked", 1, "md5:0123"))
    done = download_dataset(name, tmp_path / "data", archive=tmp_path / "kaggle.zip")
    assert below(done.folder) == expected
    assert done.clips == clips
    assert "is not the published one (md5:0123)" in done.remarks[0]
    assert hashlib.md5((tmp_path / "kaggle.zip").read_bytes()).hexdigest() in done.remarks[0]
    assert [path.name for path in (tmp_path / "data").iterdir()] == [done.folder.name]


def test_a_given_archive_with_the_published_checksum_needs_no_remark(publish, tmp_path):
    archive = pack_tar(GTZAN)
    (tmp_path / "mine.tar.gz").write_bytes(archive)
    publish("gtzan", 6, Source("http://x/1", 1, "sha256:0"), Source("http://x/2", 1, sha256(archive)))
    done = download_dataset("gtzan", tmp_path, archive=tmp_path / "mine.tar.gz")
    assert done.remarks == ()
    assert (tmp_path / "mine.tar.gz").read_bytes() == archive


ESC_FILES = {f"ESC/audio/{name}": ESC_CLIPS[name] for name in ESC_CLIPS} | {"ESC/meta/esc50.csv": ESC_TABLE}


@pytest.mark.parametrize(
    ("name", "files", "layout", "clips"),
    [
        ("gtzan", GTZAN, "GTZAN", 6),
        ("gtzan", KAGGLE["gtzan"][0], "GTZAN", 6),
        ("esc50", KAGGLE["esc50"][0], "ESC-50", 3),
        ("esc50", ESC_FILES, "ESC-50", 3),
        ("esc10", ESC_FILES | {"ESC/meta/esc50.csv": ESC_TABLE.replace(b"dog,True,2", b"cow,True,2")}, "ESC-10", 2),
        ("fsdd", {f"x/recordings/{n}_theo_0.wav": b"" for n in range(3)}, "FSDD", 3),
    ],
)
def test_what_is_unpacked_is_recognised_when_it_is_read(publish, tmp_path, name, files, layout, clips):
    (tmp_path / "packed").write_bytes(pack_zip(files))
    publish(name, clips)
    read = read_clips(download_dataset(name, tmp_path / "data", archive=tmp_path / "packed").folder)
    assert (read.layout, len(read)) == (layout, clips)


def test_speech_commands_unpacks_without_a_folder_around_it(publish, tmp_path):
    files = {"./yes/0a2b_nohash_0.wav": b"1", "./no/0a2b_nohash_1.wav": b"2", "./_background_noise_/hum.wav": b"3"}
    files |= {"./testing_list.txt": b"yes/0a2b_nohash_0.wav\n", "./validation_list.txt": b"", "./LICENSE": b"by"}
    (tmp_path / "s.tar.gz").write_bytes(pack_tar(files))
    publish("speech-commands", 2)
    done = download_dataset("speech_commands", tmp_path, archive=tmp_path / "s.tar.gz")
    assert done.folder.name == "speech_commands_v0.02"
    assert below(done.folder) == {name.removeprefix("./"): content for name, content in files.items()}


def test_gtzan_may_lack_the_track_that_is_damaged_everywhere(publish, tmp_path):
    (tmp_path / "g.tar.gz").write_bytes(pack_tar(GTZAN))
    publish("gtzan", 7)
    assert download_dataset("gtzan", tmp_path, archive=tmp_path / "g.tar.gz").clips == 6
    publish("gtzan", 8)
    with pytest.raises(DownloadError, match="holds 6 of the 8 clips of GTZAN"):
        download_dataset("gtzan", tmp_path / "other", archive=tmp_path / "g.tar.gz")
    assert below(tmp_path / "other") == {}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"readme.txt": b""}, r"mine.zip holds no clip of UrbanSound8K: check that it is the archive"),
        (
            {f"audio/{name}": b"" for name in URBAN_CLIPS},
            r"mine.zip holds clips of UrbanSound8K, but no UrbanSound8K.csv",
        ),
    ],
)
def test_an_archive_of_something_else_is_told_and_kept(publish, tmp_path, files, said):
    (tmp_path / "mine.zip").write_bytes(pack_zip(files))
    publish("urbansound8k", 2)
    with pytest.raises(DownloadError, match=said):
        download_dataset("urbansound8k", tmp_path / "data", archive=tmp_path / "mine.zip")
    assert below(tmp_path) == {"mine.zip": pack_zip(files)}


def test_a_given_archive_that_is_a_folder_or_not_there_is_told(publish, tmp_path):
    publish("gtzan", 6)
    with pytest.raises(DownloadError, match=f"is a folder, not an archive: .*earmark train {tmp_path}"):
        download_dataset("gtzan", tmp_path, archive=tmp_path)
    with pytest.raises(DownloadError, match=r"none\.zip does not exist"):
        download_dataset("gtzan", tmp_path, archive=tmp_path / "none.zip")


@pytest.mark.parametrize("name", ["ESC-50", "esc50", "esc_50", "Esc 50"])
def test_a_name_is_known_however_it_is_written(name):
    assert find_dataset(name).name == "esc50"


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(DownloadError, match=r"'urbansound'\. Did you mean 'urbansound8k'\? There are: gtzan, urban"):
        find_dataset("urbansound")
    with pytest.raises(DownloadError, match=r"known as 'xyz'\. There are"):
        find_dataset("xyz")


@pytest.mark.parametrize("dataset", KNOWN_DATASETS, ids=lambda dataset: dataset.name)
def test_what_is_known_of_a_dataset_is_of_the_right_form(dataset):
    lengths = {"md5": 32, "sha256": 64}
    for source in dataset.sources:
        assert source.size > 1_000_000
        if source.checksum is not None:
            algorithm, _, value = source.checksum.partition(":")
            assert re.fullmatch(f"[0-9a-f]{{{lengths[algorithm]}}}", value)
        else:
            # Nothing vouches for it but the commit in its address.
            assert re.search(r"/archive/[0-9a-f]{40}\.zip$", source.url)
    assert find_dataset(dataset.name) is dataset
    assert sum(dataset.folder == other.folder for other in KNOWN_DATASETS) == 1, "two would overwrite each other"
