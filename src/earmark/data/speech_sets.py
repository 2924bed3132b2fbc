"""Speech Commands and the Free Spoken Digit Dataset, known by their layout, with their speakers as groups."""

import os
import re

from earmark.data.clips import Clips, build_clips
from earmark.data.tree import Tree
from earmark.errors import ClipsError

_LISTS = {"validation_list.txt": "validation", "testing_list.txt": "test"}
_NOISE = "_background_noise_"
# 7_jackson_32: the digit, who says it, the take.
DIGIT_TAKE = re.compile(r"(?P<mark>\d)_(?P<group>[A-Za-z]+)_\d+", re.ASCII)
# 0a7c2a8d_nohash_0: who says it, the take.
WORD_TAKE = re.compile(r"(?P<group>.+)_nohash_\d+", re.ASCII)


def read_speech_commands(tree: Tree) -> Clips | None:
    """Speech Commands: a folder a word beside ``validation_list.txt`` and ``testing_list.txt``.

    What is in neither list is for training. The speaker, the part of a file's name before ``_nohash_``, is the group;
    ``_background_noise_`` is no class. A word whose folder was deleted is no fault.

    Args:
        tree: What lies beneath the folder.

    Returns:
        The clips, or ``None`` where the two lists are not there.

    Raises:
        ClipsError: a list that cannot be read.

    Source:
        Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition" (2018), and the README in it.
    """
    places = [{parts[:-1] for parts in tree.others if parts[-1] == name} for name in _LISTS]
    tops = set.intersection(*places)
    if len(tops) != 1:
        return None
    top = tops.pop()
    split_of = {
        name: split for file, split in _LISTS.items() for name in _read_list(os.path.join(tree.path, *top, file))
    }
    rows = []
    for parts in tree.sounds:
        if parts[:-2] != top:
            tree.passed_over["outside any class folder"] += 1
        elif parts[-2] == _NOISE:
            tree.passed_over["background noise, which is no class"] += 1
        else:
            word, name = parts[-2:]
            speaker, mark, _ = name.partition("_nohash_")
            split = split_of.get(f"{word}/{name}", "train")
            path = os.path.join(tree.path, *parts)
            rows.append({"path": path, "label": word, "group": speaker if mark else None, "split": split})
    if not rows:
        raise ClipsError(f"{tree.path.joinpath(*top)} holds the lists of Speech Commands but no word: unpack it again.")
    return build_clips(rows, source=str(tree.path), layout="Speech Commands", passed_over=tree.count_passed_over())


def _read_list(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().split()
    except (OSError, UnicodeDecodeError) as error:
        raise ClipsError(f"{path} cannot be read as a list of files ({error}): unpack the archive again.") from error


def read_fsdd(tree: Tree) -> Clips | None:
    """The Free Spoken Digit Dataset: ``7_jackson_32.wav``, all in one folder, often ``recordings``.

    The speaker is the group. The published split (takes 0 to 4 are tested) is not taken: each of its speakers is on
    both sides, and measures a voice that is known rather than a digit.

    Args:
        tree: What lies beneath the folder.

    Returns:
        The clips, or ``None`` where any sound is not named and placed like that.

    Source:
        https://github.com/Jakobovski/free-spoken-digit-dataset
    """
    if len({parts[:-1] for parts in tree.sounds}) != 1:
        return None
    rows = []
    for parts in tree.sounds:
        take = DIGIT_TAKE.fullmatch(os.path.splitext(parts[-1])[0])
        if take is None:
            return None
        rows.append({"path": os.path.join(tree.path, *parts), "label": take["mark"], "group": take["group"]})
    return build_clips(rows, source=str(tree.path), layout="FSDD", passed_over=tree.count_passed_over())
