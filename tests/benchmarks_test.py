"""The benchmarks' table: rows renewed section by section, the rest as it was. No test asks what they measured."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def results():
    """The scripts' own module, found as they find it: beside them."""
    spec = importlib.util.spec_from_file_location("results", ROOT / "benchmarks" / "results.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["results"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["results"]


def read_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def test_a_row_says_median_spread_and_whether_the_target_is_met(results):
    row = results.Result("a claim", [1.2, 1.0, 1.1], "a peer", at_most=1.15)
    assert row.tell_ratio() == "1.10 (1.00 to 1.20)"
    assert row.tell_target() == "≤ 1.15: met"
    assert results.Result("a claim", [1.6], "a peer", at_least=1.8).tell_target() == "≥ 1.8: missed"
    assert results.Result("a claim", [0.7], "a peer", at_least=0.85, at_most=1.15).tell_target() == (
        "≥ 0.85, ≤ 1.15: missed"
    )
    assert results.Result("a claim", [0.7], "a peer").tell_target() == "–"


def test_a_peer_that_cannot_be_had_has_no_ratio(results):
    row = results.Result("a claim", [], "torchaudio", at_least=1, figures="does not import")
    assert (row.tell_ratio(), row.tell_target()) == ("–", "≥ 1")


def test_a_script_renews_its_own_rows_and_leaves_the_others(results):
    first, second, third = (results.Result(name, [1.0], "p") for name in ("first", "second", "third"))
    text = results.renew("", "startup", [first], "2 cores", "python benchmarks/startup.py", "2026-01-01")
    text = results.renew(text, "features", [first, second], "2 cores", "python benchmarks/features.py", "2026-01-02")
    text = results.renew(text, "features", [third], "2 cores", "python benchmarks/features.py X", "2026-01-03")
    assert [(row[0], row[1], row[6], row[7]) for row in read_rows(text)] == [
        ("features", "third", "A, 2026-01-03", "`python benchmarks/features.py X`"),
        ("startup", "first", "A, 2026-01-01", "`python benchmarks/startup.py`"),
    ]


def test_each_machine_that_a_row_names_is_told_once(results):
    row = [results.Result("a | b", [1.0], "p")]
    text = results.renew("", "features", row, "2 cores; torch 1", "c", "2026-01-01")
    text = results.renew(text, "memory", row, "2 cores; torch 2", "c", "2026-01-02")
    assert [line for line in text.splitlines() if line.startswith("- **")] == [
        "- **A**: 2 cores; torch 1",
        "- **B**: 2 cores; torch 2",
    ]
    text = results.renew(text, "features", row, "2 cores; torch 2", "c", "2026-01-03")
    assert [line for line in text.splitlines() if line.startswith("- **")] == ["- **B**: 2 cores; torch 2"]
    assert [row[1] for row in read_rows(text)] == [r"a \| b", r"a \| b"]


def test_nothing_is_written_unless_asked(results, tmp_path, capsys):
    table = tmp_path / "RESULTS.md"
    results.publish("memory", [results.Result("a claim", [1.0], "a peer")], record=False, file=table)
    assert not table.exists()
    results.publish("memory", [results.Result("a claim", [1.0], "a peer")], record=True, file=table)
    assert "| memory | a claim | 1.00 (1.00 to 1.00) |" in table.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="no section"):
        results.publish("memroy", [], record=True, file=table)
    assert "a claim" in capsys.readouterr().out


def test_a_command_names_no_place_of_this_machine(results, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/memory.py", str(tmp_path), "--rounds", "5", "--record"])
    assert results.tell_command() == f"python benchmarks/memory.py {tmp_path.name} --rounds 5"
