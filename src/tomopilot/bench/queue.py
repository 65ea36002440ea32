"""Trainings one after the other, each for its hours: a queue that can be interrupted anywhere, for days."""

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tomopilot.bench.training import read_chances, read_groups, read_slices, report_prior
from tomopilot.prior.checkpoint import lineage, load_prior
from tomopilot.prior.train import FINISHED, STATE, Progress, branched, revive, train
from tomopilot.prior.training import Training, read_training

KEYS = {"recipe": str, "images": list, "validation": str, "hours": (int, float)}
MORE = {"start_from": str, "kept": str}


@dataclass(frozen=True)
class Task:
    """One prior to train: recipe, images of training and validation, and hours at a constant rate."""

    name: str
    training: Training
    card: Mapping[str, Any]
    images: tuple[str, ...]
    validation: str
    hours: float
    start_from: str | None = None  # an earlier task, whose finished weights are taken over
    kept: Path | None = None  # a prior of an earlier state, to go on from where OUT has none

    def stretch(self, out: Path, card: Mapping[str, Any], device: str) -> Iterator[Progress]:
        """Goes on at the constant rate, until the hours are over."""
        if self.kept is not None and not (out / STATE).is_file():
            revive(self.kept, out, self.training)
        yield from self._steps(
            out, self.training, card, device, resume=(out / STATE).is_file(), hours=self.hours
        )

    def finish(self, out: Path, card: Mapping[str, Any], device: str) -> Iterator[Progress]:
        """Lets the rate fall to 0, on a branch of its own, and leaves pictures beside the prior."""
        final, training = branched(out, self.training)
        yield from self._steps(final, training, card, device, resume=True)
        report_prior(final, read_slices(self.images), read_slices([self.validation]), device)

    def _steps(
        self, out: Path, training: Training, card: Mapping[str, Any], device: str, **options: Any
    ) -> Iterator[Progress]:
        slices = read_slices(self.images)
        start = None
        if self.start_from is not None:
            start = load_prior(out.parents[out.name == FINISHED] / self.start_from / FINISHED)
            card = {**card, "started_from": lineage(start.card)}
        yield from train(
            slices, training, out,
            validation=read_slices([self.validation]), card={**self.card, "seed": training.seed, **card},
            groups=read_groups(self.images, training.evenly),
            weights=read_chances(self.images, training.chances),
            device=device, start=None if options["resume"] else start, **options,
        )  # fmt: skip


def read_queue(path: Path) -> list[Task]:
    """The tasks of a TOML file of [[prior]] tables; files of images lie in TOMOPILOT_DATA.

    Raises ValueError where a key, a recipe or a file of images is missing, before anything is trained.
    """
    try:
        tables = tomllib.loads(path.read_text()).get("prior")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the queue {path} cannot be read ({error})") from None
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"the queue {path} has no [[prior]] tables; see recipes/queue.toml")
    tasks: list[Task] = []
    for table in tables:
        tasks.append(_task(path, table, [task.name for task in tasks]))
    return tasks


def data_folder(path: Path) -> Path:
    """TOMOPILOT_DATA, or the folder shared/data beside the clone that a queue belongs to."""
    return Path(os.environ.get("TOMOPILOT_DATA") or path.resolve().parents[2] / "shared" / "data")


def _task(path: Path, table: Mapping[str, Any], before: Sequence[str]) -> Task:
    for key, kind in (KEYS | MORE).items():
        if key not in table and key in KEYS:
            raise ValueError(f"a prior in the queue {path} lacks {key!r}; it needs {', '.join(KEYS)}")
        if key in table and not isinstance(table[key], kind):
            raise ValueError(f"a prior in the queue {path} has {key} = {table[key]!r}, of the wrong type")
    if unknown := sorted(set(table) - set(KEYS | MORE)):
        known = ", ".join(KEYS | MORE)
        raise ValueError(f"the queue {path} has the unknown key {unknown[0]!r}; known are {known}")
    training, card = read_training(path.parent / table["recipe"])
    start = table.get("start_from")
    if start is not None and start not in before:
        raise ValueError(
            f"{card['name']} in the queue {path} starts from {start!r}, which is not trained before it"
        )
    data = data_folder(path)
    files = [str(data / name) for name in (*table["images"], table["validation"])]
    missing = [name for name in files if not Path(name.partition("::")[0]).is_file()]
    if missing:
        raise ValueError(f"{missing[0]} is named in the queue {path}, but is not there; set TOMOPILOT_DATA")
    kept = path.parent / table["kept"] if "kept" in table else None
    if kept is not None and not (kept / "prior.safetensors").is_file():
        raise ValueError(f"{kept} is named in the queue {path}, but holds no prior")
    images, training = tuple(files[:-1]), replace(training, steps=0)
    return Task(card["name"], training, card, images, files[-1], table["hours"], start, kept)
