"""Archives: what is in them comes out, nothing lands outside, damage is a sentence."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from earmark.data.archives import unpack_archive
from earmark.errors import DownloadError

FILES = {"set/a/1.wav": b"one" * 5000, "set/list.txt": b"1.wav\n"}


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in files.items():
            container.writestr(name, content)
    return path


def unpack(archive: Path, folder: Path) -> dict[str, bytes]:
    unpack_archive(archive, folder, lambda done, total: None)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_comes_out_as_it_went_in_whatever_it_is_called(tmp_path, mode):
    assert unpack(write_tar(tmp_path / "unnamed", FILES, mode), tmp_path / "out") == FILES


def test_a_zip_comes_out_as_it_went_in(tmp_path):
    assert unpack(write_zip(tmp_path / "unnamed", FILES), tmp_path / "out") == FILES


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_progress_ends_at_the_whole(tmp_path, write):
    steps: list[tuple[int, int]] = []
    unpack_archive(write(tmp_path / "a", FILES), tmp_path / "out", lambda *step: steps.append(step))
    assert steps[-1][0] == steps[-1][1] > 0
    assert steps == sorted(steps)


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_what_macos_adds_stays_out(tmp_path, write):
    noise = {"set/a/._1.wav": b"x", "__MACOSX/set/._a": b"x", "set/.DS_Store": b"x"}
    assert unpack(write(tmp_path / "a", noise | FILES), tmp_path / "out") == FILES


@pytest.mark.parametrize("write", [write_tar, write_zip])
@pytest.mark.parametrize("name", ["../evil.wav", "set/../../evil.wav", "/evil.wav", "..\\evil.wav", "C:/evil.wav"])
def test_a_name_that_leads_out_is_refused(tmp_path, write, name):
    archive = write(tmp_path / "a", FILES | {name: b"evil"})
    with pytest.raises(DownloadError, match=r"a name that leads out of its folder .*evil.wav"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_a_link_or_device_in_a_tar_is_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        info = tarfile.TarInfo("set/door")
        info.type, info.linkname = kind, "/etc"
        tar.addfile(info)
    with pytest.raises(DownloadError, match=r"a link or special file \('set/door'\)"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_a_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("set/door")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as container:
        container.writestr(info, "/etc")
    with pytest.raises(DownloadError, match="a link or special file"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_tar_cut_short_is_damaged(tmp_path, mode):
    archive = write_tar(tmp_path / "a", {"noise.wav": bytes(range(256)) * 4000, **FILES}, mode)
    archive.write_bytes(archive.read_bytes()[:-20])
    with pytest.raises(DownloadError, match=r"is damaged .*: get it again"):
        unpack(archive, tmp_path / "out")


def test_a_gzip_whose_check_sum_is_wrong_is_damaged_though_all_files_came_out(tmp_path):
    archive = write_tar(tmp_path / "a", FILES)
    content = bytearray(archive.read_bytes())
    content[-8] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match=r"is damaged .*CRC"):
        unpack(archive, tmp_path / "out")


def test_a_zip_cut_short_or_changed_is_damaged(tmp_path):
    whole = write_zip(tmp_path / "whole", FILES).read_bytes()
    changed = bytearray(whole)
    changed[whole.index(b"1.wav") + 10] ^= 0xFF
    for content in (whole[:-30], bytes(changed)):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(DownloadError, match="is damaged"):
            unpack(tmp_path / "a", tmp_path / "out")


def test_a_zip_with_a_password_says_what_to_do(tmp_path):
    archive = write_zip(tmp_path / "a.zip", {"a.wav": b"1"})
    content = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flag that says so, in both headers
        content[content.index(magic) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match=r"password.*unpack it with another program and train on its folder"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html><title>Log in</title>" * 100])
def test_what_is_no_archive_is_called_so(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DownloadError, match=r"a.zip is neither a tar nor a zip archive"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_a_full_disk_is_told_with_the_folder(tmp_path, monkeypatch):
    def fill_up(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", fill_up)
    with pytest.raises(OSError, match="No space left") as caught:
        unpack(write_tar(tmp_path / "a", FILES), tmp_path / "out")
    assert caught.value.filename == str(tmp_path / "out")
