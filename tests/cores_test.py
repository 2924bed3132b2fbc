"""Cores are counted as this process may use them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark import cores
from earmark.cores import count_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds a process to some of its cores")
def test_a_process_bound_to_one_core_counts_one() -> None:
    code = "import os; from earmark.cores import count_cores; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(count_cores())"], capture_output=True, check=True)
    assert int(done.stdout) == 1


def test_where_the_system_does_not_tell_those_of_the_machine_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(cores, "QUOTA_FILE", Path("none"))
    assert count_cores() == 6


@pytest.mark.parametrize(
    ("told", "counted"), [("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 6)]
)
def test_a_container_counts_the_cores_whose_time_it_is_allowed(
    told: str, counted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(cores, "QUOTA_FILE", tmp_path / "cpu.max")
    assert count_cores() == 6
    (tmp_path / "cpu.max").write_text(told, encoding="ascii")
    assert count_cores() == counted
