"""The plan of the house, kept: what may import what, who decodes, how long a file may be, what stays cheap."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "earmark"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE = 400
HEAVY = ("torch", "torchvision", "transformers", "timm", "pandas", "matplotlib", "sklearn", "scipy", "av", "soundfile")

# From the ground up: a room imports from floors below its own, and from itself.
FLOORS = (
    {"errors", "files", "progress", "reach", "cores", "pages"},
    {"sound"},
    {"data"},
    {"models"},
    {"inference"},
    {"evaluation"},
    {"training"},
    {"publishing", "serving"},
    {"cli"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FRONT_DOORS = {"__init__", "__main__"}
NOT_EVEN_BELOW = {("models", "data")}  # models know sounds, never labels or tables
DECODERS = {"sound/decode.py", "sound/readers.py", "sound/container.py"}
WRITERS = {
    "sound/synthesis.py",
    "pages/player.py",
    "cli/demo.py",
    "training/audition.py",
}  # they write sounds with soundfile
ENCODERS = {"sound/codecs.py"}  # it encodes with PyAV what `decode` then reads
DOCTORS = {"cli/doctor.py"}  # it asks soundfile and PyAV what they can


def relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def room_of(module: str) -> str:
    """``earmark.data.clips`` -> ``data``; ``earmark`` itself -> the empty name."""
    return [*module.split("."), ""][1]


def find_imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in a file, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: imports are absolute"
            # `from earmark.cli import data` names a module, too.
            modules = [node.module or ""]
            if node.module == "earmark" or (SOURCE / (node.module or "").replace("earmark.", "", 1)).is_dir():
                modules = [f"{node.module}.{name.name}" for name in node.names]
            yield from ((node.lineno, module) for module in modules)


def is_ours(module: str) -> bool:
    return module == "earmark" or module.startswith("earmark.")


def test_there_is_a_house_to_look_at() -> None:
    assert len(FILES) > 30
    rooms = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES} - FRONT_DOORS
    assert rooms <= FLOOR_OF.keys(), f"{rooms - FLOOR_OF.keys()} have no floor"


# The front doors lead to every floor, on first use; they belong to none.
@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent != SOURCE or path.stem not in FRONT_DOORS], ids=relative
)
def test_a_room_imports_only_from_floors_below(path: Path) -> None:
    home = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for line, module in find_imports(path):
        # `import earmark` gives the version; the names behind the front door belong to users.
        if not is_ours(module) or module in ("earmark", "earmark.__version__"):
            continue
        room = room_of(module)
        assert room in FLOOR_OF, f"{relative(path)}:{line} imports {module}, which has no floor"
        allowed = room == home or (FLOOR_OF[room] < FLOOR_OF[home] and (home, room) not in NOT_EVEN_BELOW)
        assert allowed, f"{relative(path)}:{line}: {home} may not import {module}"


def test_the_front_door_points_to_modules_that_are_there() -> None:
    import earmark

    for name in earmark.__all__:
        assert getattr(earmark, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = earmark.nothing
    assert dir(earmark) == sorted(earmark.__all__)


def test_only_the_decoder_decodes() -> None:
    uses: dict[str, set[str]] = {}
    for path in FILES:
        for _, module in find_imports(path):
            if module.split(".")[0] in ("soundfile", "av"):
                uses.setdefault(relative(path), set()).add(module.split(".")[0])
    others = uses.keys() - DECODERS - WRITERS - ENCODERS - DOCTORS
    assert not others, f"{others} import a decoder; `earmark.sound.decode` is the only way in"
    assert all(uses.get(name, {"soundfile"}) == {"soundfile"} for name in WRITERS)
    for name in WRITERS & uses.keys():
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        asked = {call.attr for call in calls if isinstance(call.value, ast.Name) and call.value.id == "soundfile"}
        assert not asked & {"read", "blocks", "info", "SoundFile"}, f"{name} reads with soundfile: {asked}"
    for name in ENCODERS:
        tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        opened = [ast.unparse(call) for call in calls if ast.unparse(call.func) == "av.open"]
        assert uses[name] == {"av"}
        assert opened
        assert all("mode='w'" in call for call in opened), f"{name} opens with PyAV what it does not write: {opened}"
    # Nor by another way: what else reads sound is not among what is imported.
    roots = {module.split(".")[0] for path in FILES for _, module in find_imports(path)}
    assert not roots & {"torchaudio", "torchcodec", "librosa", "audioread", "pydub"}


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_a_file_is_one_room_and_says_things_through_its_channels(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGEST_FILE, "a file over 400 lines is two rooms"
    assert path.stem not in ("utils", "util", "helpers", "common", "misc")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{relative(path)}:{node.lineno} prints"
        if isinstance(node, ast.ClassDef):
            assert not node.name.startswith("Base"), f"{relative(path)}:{node.lineno}: {node.name}"
            assert not node.name.endswith("Manager"), f"{relative(path)}:{node.lineno}: {node.name}"


@pytest.mark.parametrize("path", [path for path in FILES if path.stat().st_size], ids=relative)
def test_every_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def loaded_after(code: str) -> tuple[set[str], str]:
    """The heavy packages that a fresh Python has loaded after ``code``, and what it wrote."""
    script = f"import sys\n{code}\nprint('\\nloaded:', *[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    written, _, names = done.stdout.rpartition("\nloaded:")
    return set(names.split()), written


def test_import_earmark_costs_nothing() -> None:
    assert loaded_after("import earmark; earmark.__version__; dir(earmark)")[0] == set()


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "train --help",
        "compare --help",
        "predict --help",
        "timeline --help",
        "listen --help",
        "show --help",
        "push --help",
        "data show --help",
        "data download --help",
        "data audit --help",
        "data augment --help",
        "--version",
    ],
)
def test_help_costs_nothing(arguments: str) -> None:
    code = (
        f"sys.argv = ['earmark', *{arguments.split()}]\n"
        "from earmark.cli.main import run\n"
        "try:\n    run()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    loaded, written = loaded_after(code)
    assert loaded == set()
    assert "earmark" in written
