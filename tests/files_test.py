"""Files are written whole or not at all."""

import os

import pytest

from earmark.files import replace_whole, write_text_whole


def test_a_file_is_made_with_its_folder(tmp_path):
    target = tmp_path / "new" / "folder" / "结果 🔊.txt"
    with replace_whole(target) as part:
        assert part.parent == target.parent, "a rename is only whole within one file system"
        part.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == [target.name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "report.json"
    target.write_text("old")

    def write_half() -> None:
        with replace_whole(target) as part:
            part.write_text("half of the ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.json"], "no .part file stays behind"


def test_an_error_on_the_first_write_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="disk"), replace_whole(tmp_path / "a.bin"):
        raise ValueError("disk")
    assert os.listdir(tmp_path) == []


def test_a_reader_sees_the_old_file_until_the_end(tmp_path):
    target = write_text_whole(tmp_path / "a.txt", "old")
    with replace_whole(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_a_written_file_has_the_permissions_the_user_asked_for(tmp_path):
    before = os.umask(0o027)
    try:
        target = write_text_whole(tmp_path / "a.txt", "shared")
    finally:
        assert os.umask(before) == 0o027, "the umask of the process is left as it was"
    assert target.stat().st_mode & 0o777 == 0o640


def test_text_is_utf_8_with_unix_line_ends_everywhere(tmp_path):
    path = write_text_whole(str(tmp_path / "a.csv"), "狗,🐶\nb\n")
    assert path.read_bytes() == "狗,🐶\nb\n".encode()
