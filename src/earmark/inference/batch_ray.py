"""The same over a Ray cluster: Ray Data hands shards of an archive to copies of the model on all its machines."""

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from earmark.errors import RunError
from earmark.inference.answer_files import Record, to_record
from earmark.inference.batch import list_model_files
from earmark.inference.classifier import FILES_AT_ONCE, Classifier, cut_groups
from earmark.inference.decoders import DecoderProcesses
from earmark.inference.shards import Shards

SHARDS_A_PAGE = 1024
CPUS_AN_ACTOR = 0.5  # with whole ones, actors take all processors and the task that feeds them waits for ever


def answer_on_ray(
    model: str, shards: Shards, numbers: list[int], *, top_k: int, reject: bool
) -> Iterator[tuple[int, list[Record]]]:
    """Answer some shards on the cluster that ``RAY_ADDRESS`` names, or on a new one on this machine.

    Earmark must be installed on every machine; the model and the list travel. Paths must mean the same file everywhere:
    on a shared disk, or as addresses that fsspec opens. A machine that dies costs its shards a second answer.

    Yields:
        (shard, its records), in the order in which they are done.

    Raises:
        RunError: Ray is not installed, no cluster can be reached or started, or it fails.
    """
    ray = _start_ray()
    files = ray.put({name: path.read_bytes() for name, path in list_model_files(model).items()})
    pages = [
        ray.put([shards.read_paths(number) for number in numbers[first : first + SHARDS_A_PAGE]])
        for first in range(0, len(numbers), SHARDS_A_PAGE)
    ]
    ray.data.DataContext.get_current().enable_progress_bars = False
    answered = ray.data.range(len(numbers), override_num_blocks=len(numbers)).map_batches(
        _ShardAnswerer,
        fn_constructor_args=([files, *pages], os.getcwd(), top_k, reject),
        batch_size=1,
        **_share_out(ray.data.ActorPoolStrategy, ray.cluster_resources(), len(numbers)),
    )
    try:
        for batch in answered.iter_batches(batch_size=1, prefetch_batches=0):
            yield numbers[int(batch["id"][0])], json.loads(batch["records"][0])
    except ray.exceptions.RayError as error:  # Earmark is missing on a machine, the cluster goes away…
        reason = str(error).strip().splitlines()[-1]
        raise RunError(
            f"The Ray cluster did not finish ({reason}); mend that and run the same command again: what was answered "
            "is kept."
        ) from error


def _start_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise RunError('Ray is not installed; run `pip install "earmark[ray]"`.') from error
    if not ray.is_initialized():
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
            logging.getLogger("ray.data").setLevel("CRITICAL")  # what fails is told once, below
        except Exception as error:  # no such cluster, another version there, no port left…
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise RunError(f"No Ray cluster can be reached or started ({reason}); see RAY_ADDRESS.") from error
    return ray


def _share_out(pool: Any, resources: dict[str, float], shards: int) -> dict[str, Any]:
    """One copy of the model for each GPU of the cluster, or for each processor where there is none."""
    gpus = int(resources.get("GPU", 0))
    copies = gpus or int(resources.get("CPU", 1))
    return {
        "compute": pool(size=max(1, min(copies, shards))),
        "num_cpus": CPUS_AN_ACTOR,
        **({"num_gpus": 1} if gpus else {}),
    }


class _ShardAnswerer:
    """One copy of the model, in a process of Ray's."""

    def __init__(self, parcels: list[Any], folder: str, top_k: int, reject: bool) -> None:
        import ray

        if os.path.isdir(folder):
            os.chdir(folder)  # relative paths mean what they meant where the job was begun
        self.place = tempfile.TemporaryDirectory()  # goes with this copy
        model, *self.pages = parcels
        files = ray.get(model)
        for name, content in files.items():
            (Path(self.place.name) / name).write_bytes(content)
        exported = [name for name in files if name.endswith(".onnx")]
        self.classifier = Classifier.from_pretrained(Path(self.place.name, *exported))
        self.top_k, self.reject = top_k, reject

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import ray

        place = int(batch["id"][0])
        paths = ray.get(self.pages[place // SHARDS_A_PAGE])[place % SHARDS_A_PAGE]
        with DecoderProcesses(1) as decoders:
            groups = cut_groups(paths, FILES_AT_ONCE)
            answered = self.classifier.answer_groups(groups, decoders, top_k=self.top_k, reject=self.reject)
            records = [to_record(answer) for answer in chain.from_iterable(answered)]
        return {"id": batch["id"], "records": [json.dumps(records)]}
