"""The trackers Earmark can follow a training with, each spoken to in its own words.

All of them work without an account, keep what they write in the run directory unless their own environment variables
say otherwise, and are told figures, settings and pictures, but not the machine's name, the command or the packages.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from earmark.errors import RunError
from earmark.training.tracker_exhibits import Exhibits, open_picture, to_markdown

Outcome = Literal["finished", "failed", "aborted"]
Settings = Mapping[str, "str | int | float | bool"]

PROJECT = "earmark"


class Tracker(Protocol):
    """A run followed in one tracker.

    ``hint`` says how to look at it.
    """

    hint: str

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        """Add one point to each curve."""

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        """Put up what the finished run has to show."""

    def finish(self, outcome: Outcome) -> None:
        """Write all that waits, and let go of threads and files."""


class SwanLab:
    """SwanLab: its cloud where one is logged in, else its local mode, else its offline mode.

    ``SWANLAB_MODE``, ``SWANLAB_LOG_DIR`` and SwanLab's other settings are honoured.
    """

    def __init__(self, folder: Path, title: str, settings: Settings) -> None:
        import swanlab

        chosen = swanlab.Settings()
        log_dir = os.environ.get("SWANLAB_LOG_DIR", str(folder / "swanlog"))
        self._swanlab = swanlab
        self.mode = chosen.mode if "mode" in chosen.model_fields_set else _choose_swanlab_mode(chosen)
        with ExitStack() as stack:
            _keep_variable(stack, "SWANLAB_LOG_DIR")  # its local mode sets it, for this run and the next
            self._run = swanlab.init(
                mode=self.mode,
                log_dir=log_dir,
                project=chosen.project.name or PROJECT,
                name=title,
                tags=_name_tags(settings),
                config=dict(settings),
                settings=swanlab.Settings(
                    interactive=False,
                    # Neither host name, command and folder nor git remote and packages; the report has what matters.
                    probe=swanlab.Settings.Probe(runtime=False, git=False, requirements=False),
                    terminal=swanlab.Settings.Terminal(proxy_type="none"),
                ),
            )
            self._stack = stack.pop_all()
        self.hint = {
            "online": lambda: f"SwanLab: look at it on {self._run.url}.",
            "local": lambda: f"SwanLab: look at it with `swanlab watch {_quote(log_dir)}`.",
            "offline": lambda: f"SwanLab: `swanlab login`, then `swanlab sync {_quote(self._run.dir)}` to look at it.",
            "disabled": lambda: "SwanLab: switched off by its settings, nothing was written.",
        }[self.mode]()

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        self._run.log(figures, step=epoch)

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        lab = self._swanlab
        shown: dict[str, Any] = {
            **exhibits.figures,
            "test/protocol": lab.Text(exhibits.words),
            exhibits.matrix_name: lab.Image(open_picture(exhibits.matrix), caption=exhibits.matrix_caption),
        }
        for name, rows in exhibits.tables.items():
            shown[name] = lab.Text(to_markdown(rows))
        if exhibits.examples:
            shown["test/examples"] = [lab.Image(open_picture(e.png), caption=e.caption) for e in exhibits.examples]
            shown["test/sounds"] = [
                lab.Audio(e.waveform, sample_rate=e.sample_rate, caption=e.caption) for e in exhibits.examples
            ]
        if exhibits.guesses is not None and self.mode != "local":  # the local page draws no charts of this kind
            guesses = exhibits.guesses
            shown["test/confusion_matrix"] = lab.plot.confusion_matrix(guesses.truth, guesses.guess, guesses.labels)
        self._run.log(shown, step=epoch)

    def finish(self, outcome: Outcome) -> None:
        with self._stack:
            states = {"finished": "success", "failed": "crashed", "aborted": "aborted"}
            self._run.finish(state=states[outcome], error=None if outcome == "finished" else outcome)


class TensorBoard:
    """TensorBoard: event files in ``tensorboard/`` of the run directory."""

    def __init__(self, folder: Path, title: str, settings: Settings) -> None:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        home = folder / "tensorboard"
        # A run that is continued tells its epochs anew: what lies there of them counts no more.
        self._writer = SummaryWriter(home, purge_step=0)
        self._summaries = cast(Any, self._writer.file_writer)
        _, start, self._end = hparams(dict(settings), {})
        self._summaries.add_summary(start)
        rows = [{"setting": key, "value": value} for key, value in settings.items()]
        self._writer.add_text("recipe", f"{title}\n\n{to_markdown(rows)}")
        self.hint = f"TensorBoard: look at it with `tensorboard --logdir {_quote(home)}`."

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        import numpy as np

        self.log_figures(exhibits.figures, epoch)
        writer = self._writer
        writer.add_text("test/protocol", exhibits.words, epoch)
        writer.add_image(exhibits.matrix_name, np.asarray(open_picture(exhibits.matrix)), epoch, dataformats="HWC")
        writer.add_text(f"{exhibits.matrix_name}/words", exhibits.matrix_caption, epoch)
        for name, rows in exhibits.tables.items():
            writer.add_text(name, to_markdown(rows), epoch)
        for number, example in enumerate(exhibits.examples, start=1):
            name = f"{number} {example.caption}"
            writer.add_image(f"test/examples/{name}", np.asarray(open_picture(example.png)), epoch, dataformats="HWC")
            writer.add_audio(f"test/sounds/{name}", example.waveform[None], epoch, sample_rate=example.sample_rate)

    def finish(self, outcome: Outcome) -> None:
        if outcome == "finished":
            self._summaries.add_summary(self._end)
        else:
            self._writer.add_text("outcome", outcome)
        self._writer.close()


class Wandb:
    """Weights & Biases: online where one is logged in, else offline.

    ``WANDB_MODE``, ``WANDB_DIR``, ``WANDB_PROJECT`` and the like are honoured.
    """

    def __init__(self, folder: Path, title: str, settings: Settings) -> None:
        with ExitStack() as stack:
            # Scratch files would otherwise stay in the home directory, and usage would be reported.
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-", ignore_cleanup_errors=True))
            _lend_variables(stack, WANDB_CACHE_DIR=scratch, WANDB_DATA_DIR=scratch, WANDB_ERROR_REPORTING="false")
            import wandb

            self._wandb = wandb
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=title,
                dir=os.environ.get("WANDB_DIR", str(folder)),
                mode=_choose_wandb_mode(),
                reinit="create_new",
                tags=_name_tags(settings),
                config=dict(settings),
                settings=wandb.Settings(
                    silent=True,
                    console="off",
                    disable_git=True,
                    disable_code=True,
                    x_disable_meta=True,
                    x_disable_machine_info=True,
                    x_save_requirements=False,
                ),
            )
            self._stack = stack.pop_all()
        # Its own step only ever rises, whereas every fold begins with epoch 1.
        self._run.define_metric("epoch")
        self._run.define_metric("*", step_metric="epoch")
        home = _quote(Path(self._run.dir).parent)
        self.hint = f"W&B: `wandb login`, then `wandb sync {home}` to look at it."
        if self._run.url:
            self.hint = f"W&B: look at it on {self._run.url}."

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        self._run.log({"epoch": epoch, **figures})

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        wb = self._wandb
        self._run.notes = exhibits.words
        shown: dict[str, Any] = {
            **exhibits.figures,
            exhibits.matrix_name: wb.Image(open_picture(exhibits.matrix), caption=exhibits.matrix_caption),
        }
        for name, rows in exhibits.tables.items():
            columns = list(rows[0])
            shown[name] = wb.Table(columns=columns, data=[[row[column] for column in columns] for row in rows])
        if exhibits.examples:
            shown["test/examples"] = [wb.Image(open_picture(e.png), caption=e.caption) for e in exhibits.examples]
            shown["test/sounds"] = [
                wb.Audio(e.waveform, sample_rate=e.sample_rate, caption=e.caption) for e in exhibits.examples
            ]
        if exhibits.guesses is not None:
            guesses = exhibits.guesses
            shown["test/confusion_matrix"] = wb.plot.confusion_matrix(
                y_true=guesses.truth, preds=guesses.guess, class_names=guesses.labels
            )
        self._run.log({"epoch": epoch, **shown})

    def finish(self, outcome: Outcome) -> None:
        with self._stack:
            self._run.finish(exit_code={"finished": 0, "failed": 1, "aborted": 255}[outcome])


class MLflow:
    """MLflow: the server in ``MLFLOW_TRACKING_URI``, else a database in ``mlflow/`` of the run directory."""

    def __init__(self, folder: Path, title: str, settings: Settings) -> None:
        with ExitStack() as stack:
            _lend_variables(stack, MLFLOW_DISABLE_TELEMETRY="true")
            from mlflow import MlflowClient
            from mlflow.entities import Param

            home = (folder / "mlflow").resolve()
            uri, artifacts = os.environ.get("MLFLOW_TRACKING_URI"), None
            if uri is None:
                home.mkdir(parents=True, exist_ok=True)
                uri, artifacts = f"sqlite:///{(home / 'mlflow.db').as_posix()}", (home / "artifacts").as_uri()
            # The client, not the module's own functions: they would note the user, the command and the git commit.
            self._client = MlflowClient(tracking_uri=uri)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = self._client.get_experiment_by_name(name)
            experiment = known.experiment_id if known else self._client.create_experiment(name, artifacts)
            tags = dict.fromkeys(_name_tags(settings), "true")
            self._run_id = self._client.create_run(experiment, run_name=title, tags=tags).info.run_id
            self._client.log_batch(self._run_id, params=[Param(key, str(value)) for key, value in settings.items()])
            self._stack = stack.pop_all()
        self.hint = f"MLflow: look at it with `mlflow ui --backend-store-uri {_quote(uri)}`."
        if artifacts is None:
            self.hint = f"MLflow: look at the run {self._run_id} on {uri}."

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        from mlflow.entities import Metric

        now_ms = time.time_ns() // 1_000_000
        metrics = [Metric(name, value, now_ms, epoch) for name, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        self.log_figures(exhibits.figures, epoch)
        client, run_id = self._client, self._run_id
        client.set_tag(run_id, "mlflow.note.content", exhibits.words)
        client.log_image(run_id, open_picture(exhibits.matrix), artifact_file=f"{exhibits.matrix_name}.png")
        client.log_text(run_id, exhibits.matrix_caption, f"{exhibits.matrix_name}.txt")
        for name, rows in exhibits.tables.items():
            columns = {column: [row[column] for row in rows] for column in rows[0]}
            client.log_table(run_id, columns, artifact_file=f"{name}.json")
        with tempfile.TemporaryDirectory(prefix="earmark-") as scratch:
            for number, example in enumerate(exhibits.examples, start=1):
                Path(scratch, f"{number}.png").write_bytes(example.png)
                Path(scratch, f"{number}.wav").write_bytes(example.to_wav())
                Path(scratch, f"{number}.txt").write_text(example.caption, encoding="utf-8")
            client.log_artifacts(run_id, scratch, artifact_path="test/examples")

    def finish(self, outcome: Outcome) -> None:
        states = {"finished": "FINISHED", "failed": "FAILED", "aborted": "KILLED"}
        with self._stack:
            self._client.set_terminated(self._run_id, states[outcome])


class Trackio:
    """Trackio: ``trackio/`` of the run directory, unless ``TRACKIO_DIR`` or ``TRACKIO_SPACE_ID`` say otherwise."""

    def __init__(self, folder: Path, title: str, settings: Settings) -> None:
        with ExitStack() as stack:
            # It reads this once, when it is imported: later runs of one process stay where the first went.
            _lend_variables(stack, TRACKIO_DIR=str((folder / "trackio").resolve()))
            import trackio
        from trackio import utils

        self._trackio = trackio
        # Its media lie in a folder of this name.
        name = "".join("-" if letter in '/\\:*?"<>|' else letter for letter in title)
        self._run = trackio.init(
            project=PROJECT, name=name, config=dict(settings), embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        self.hint = (
            f"Trackio: look at it with `trackio show --project {PROJECT}`, TRACKIO_DIR set to {utils.TRACKIO_DIR}."
        )
        if space := os.environ.get("TRACKIO_SPACE_ID"):
            self.hint = f"Trackio: look at it in the Space {space}."

    def log_figures(self, figures: Mapping[str, float], epoch: int) -> None:
        self._run.log(dict(figures), step=epoch)

    def show(self, exhibits: Exhibits, epoch: int) -> None:
        tio = self._trackio
        shown: dict[str, Any] = {
            **exhibits.figures,
            "test/protocol": tio.Markdown(exhibits.words),
            exhibits.matrix_name: tio.Image(open_picture(exhibits.matrix), caption=exhibits.matrix_caption),
        }
        for name, rows in exhibits.tables.items():
            shown[name] = tio.Table(data=rows)
        for number, example in enumerate(exhibits.examples, start=1):
            shown[f"test/examples/{number}"] = tio.Image(open_picture(example.png), caption=example.caption)
            shown[f"test/sounds/{number}"] = tio.Audio(
                example.to_pcm(), sample_rate=example.sample_rate, caption=example.caption
            )
        self._run.log(shown, step=epoch)

    def finish(self, outcome: Outcome) -> None:
        self._trackio.finish()


def _choose_swanlab_mode(settings: Any) -> str:
    from importlib.util import find_spec

    if settings.api_key:
        return "online"
    return "local" if find_spec("swanboard") else "offline"


def _choose_wandb_mode() -> str:
    known = _knows_wandb_key()
    mode = os.environ.get("WANDB_MODE") or ("online" if known else "offline")
    if mode == "online" and not known:
        raise RunError("WANDB_MODE is online, but no account is known here (`wandb login`)")
    return mode


def _knows_wandb_key() -> bool:
    """Whether there is an account, told without asking for one."""
    import netrc
    from urllib.parse import urlsplit

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _lend_variables(stack: ExitStack, **values: str) -> None:
    """Set environment variables that the user has not set, until the stack is left."""
    for name, value in values.items():
        if name not in os.environ:
            os.environ[name] = value
            stack.callback(os.environ.pop, name, None)


def _keep_variable(stack: ExitStack, name: str) -> None:
    """Put an environment variable back to what it is now when the stack is left."""
    if name in os.environ:
        stack.callback(os.environ.__setitem__, name, os.environ[name])
    else:
        stack.callback(os.environ.pop, name, None)


def _quote(path: Any) -> str:
    """A path as a command line takes it."""
    return f'"{path}"' if " " in str(path) else str(path)


def _name_tags(settings: Settings) -> list[str]:
    return [PROJECT, str(settings["name"])]
