"""The datasets known by name: where they are published, how large they are, what they must look like."""

import difflib
import re
from dataclasses import dataclass

from earmark.errors import DownloadError


@dataclass(frozen=True)
class Source:
    """One place that gives the archive of a dataset.

    Args:
        url: Where it lies; addresses at huggingface.co are asked of the mirror in ``HF_ENDPOINT``, if there is one.
        size: Bytes of the archive; what the server says counts more.
        checksum: ``"sha256:…"`` or ``"md5:…"`` as published; ``None`` where nobody publishes one.
    """

    url: str
    size: int
    checksum: str | None = None


@dataclass(frozen=True)
class KnownDataset:
    """A dataset that is fetched by name.

    Args:
        name: What one types.
        title: What it is called.
        sources: Tried in turn.
        folder: The name of its folder once it is unpacked.
        clip_pattern: Regular expression of a clip's path below ``clip_folder``, with ``/`` between names.
        clips: How many it holds.
        classes: How many kinds of sound.
        licence: Its short name.
        citation: One line for a list of references.
        unpacked_size: About how many bytes it takes unpacked.
        clip_folder: Where the clips lie below ``folder``; empty where they lie in ``folder`` itself.
        tables: Other files that must be there, below ``folder``.
        missing_clips: How many clips a copy may lack and still be taken for the dataset.
        subset_column: Only the clips whose row says True in this column of the first table belong to it.
    """

    name: str
    title: str
    sources: tuple[Source, ...]
    folder: str
    clip_pattern: str
    clips: int
    classes: int
    licence: str
    citation: str
    unpacked_size: int
    clip_folder: str = ""
    tables: tuple[str, ...] = ()
    missing_clips: int = 0
    subset_column: str | None = None


_ESC_CITATION = (
    "K. J. Piczak: ESC: Dataset for Environmental Sound Classification. "
    "ACM International Conference on Multimedia, 2015, 1015-1018."
)
# GitHub packs archives anew when asked and promises no stable bytes (two different MD5 sums of this very commit are
# quoted in public code): no checksum then, but a commit that cannot change, and every clip is counted.
_ESC_SOURCE = Source(
    "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip", 646_000_000
)

KNOWN_DATASETS: tuple[KnownDataset, ...] = (
    KnownDataset(
        name="gtzan",
        title="GTZAN",
        sources=(
            # The copy that the makers of Marsyas keep (.wav), at the newest revision of its repository. The Hub names
            # no checksum on its pages; three public projects that fetched the file recorded this one.
            Source(
                "https://huggingface.co/datasets/marsyas/gtzan/resolve/"
                "d2146561ecc7df707d9e6b8318885fe6a39668a2/data/genres.tar.gz",
                1_230_000_000,
                "sha256:b28cc067ff6199bd826f5d1a6931458586d64acae7f44b2e882b7a97af057531",
            ),
            # The original (.au), whose server has not answered for years; size and checksum as in TensorFlow Datasets
            # (audio/gtzan/checksums.tsv).
            Source(
                "http://opihi.cs.uvic.ca/sound/genres.tar.gz",
                1_225_571_541,
                "sha256:24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
            ),
        ),
        folder="genres",
        clip_pattern=(
            r"(?P<genre>blues|classical|country|disco|hiphop|jazz|metal|pop|reggae|rock)/(?P=genre)\.\d{5}\.(?:au|wav)"
        ),
        clips=1_000,
        classes=10,
        licence="none stated",
        citation=(
            "G. Tzanetakis, P. Cook: Musical genre classification of audio signals. "
            "IEEE Transactions on Speech and Audio Processing, 2002."
        ),
        unpacked_size=1_330_000_000,
        missing_clips=1,  # jazz.00054, which is damaged in Kaggle's copy and left out of others
    ),
    KnownDataset(
        name="urbansound8k",
        title="UrbanSound8K",
        # The MD5 sum that Zenodo publishes, as in soundata (datasets/urbansound8k.py).
        sources=(
            Source(
                "https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz?download=1",
                6_023_741_708,
                "md5:9aa69802bbf37fb986f71ec1483a196e",
            ),
        ),
        folder="UrbanSound8K",
        clip_pattern=r"fold\d+/\d+-\d+-\d+-\d+\.wav",
        clips=8_732,
        classes=10,
        licence="CC BY-NC",
        citation=(
            "J. Salamon, C. Jacoby, J. P. Bello: A Dataset and Taxonomy for Urban Sound Research. "
            "ACM International Conference on Multimedia, 2014, 1041-1044."
        ),
        unpacked_size=7_200_000_000,
        clip_folder="audio",
        tables=("metadata/UrbanSound8K.csv",),
    ),
    KnownDataset(
        name="esc50",
        title="ESC-50",
        sources=(_ESC_SOURCE,),
        folder="ESC-50-master",
        clip_pattern=r"\d-\d+-[A-Z]-\d+\.wav",
        clips=2_000,
        classes=50,
        licence="CC BY-NC 3.0",
        citation=_ESC_CITATION,
        unpacked_size=900_000_000,
        clip_folder="audio",
        tables=("meta/esc50.csv",),
    ),
    KnownDataset(
        name="esc10",
        title="ESC-10 (400 clips of ESC-50, from the same archive)",
        sources=(_ESC_SOURCE,),
        folder="ESC-10",
        clip_pattern=r"\d-\d+-[A-Z]-\d+\.wav",
        clips=400,
        classes=10,
        licence="CC BY 3.0",
        citation=_ESC_CITATION,
        unpacked_size=900_000_000,
        clip_folder="audio",
        tables=("meta/esc50.csv",),
        subset_column="esc10",
    ),
    KnownDataset(
        name="speech-commands",
        title="Speech Commands v0.02",
        # Checksum as in torchaudio (datasets/speechcommands.py) and TensorFlow Datasets, size as in the latter.
        sources=(
            Source(
                "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
                2_428_923_189,
                "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            ),
        ),
        folder="speech_commands_v0.02",
        clip_pattern=r"[a-z]+/[0-9a-f]+_nohash_\d+\.wav",
        clips=105_829,
        classes=35,
        licence="CC BY 4.0",
        citation=(
            "P. Warden: Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv:1804.03209, 2018."
        ),
        unpacked_size=3_400_000_000,
        tables=("testing_list.txt", "validation_list.txt"),
    ),
    KnownDataset(
        name="fsdd",
        title="Free Spoken Digit Dataset v1.0.10",
        # The commit of the tag v1.0.10; packed by GitHub when asked, so there is no checksum (see ESC-50).
        sources=(
            Source(
                "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
                "d6938f9bf1545aa66d8489fc9f1385a7abd64282.zip",
                16_420_000,
            ),
        ),
        folder="free-spoken-digit-dataset",
        clip_pattern=r"\d_[a-z]+_\d+\.wav",
        clips=3_000,
        classes=10,
        licence="CC BY-SA 4.0",
        citation="Z. Jackson: Free Spoken Digit Dataset, v1.0.10. https://github.com/Jakobovski/free-spoken-digit-dataset",
        unpacked_size=30_000_000,
        clip_folder="recordings",
    ),
)


def find_dataset(name: str) -> KnownDataset:
    """The known dataset of this name, however it is written (``ESC-50``, ``esc50``, ``speech_commands``).

    Raises:
        DownloadError: no dataset is called so; the message names the nearest, and all.

    Example:
        >>> find_dataset("ESC-50").folder
        'ESC-50-master'
    """
    by_letters = {_letters(dataset.name): dataset for dataset in KNOWN_DATASETS}
    if (dataset := by_letters.get(_letters(name))) is not None:
        return dataset
    near = difflib.get_close_matches(_letters(name), list(by_letters), n=1)
    advice = f"Did you mean {by_letters[near[0]].name!r}? " if near else ""
    names = ", ".join(dataset.name for dataset in KNOWN_DATASETS)
    raise DownloadError(f"No dataset is known as {name!r}. {advice}There are: {names}.")


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
