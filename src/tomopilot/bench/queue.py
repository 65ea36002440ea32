"""Trainings: one alone, or a queue of them, each for its hours; they can be interrupted anywhere."""

import math
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tomopilot.disk import read_text
from tomopilot.files.slices import read_chances, read_groups, read_slices
from tomopilot.prior.checkpoint import folder_of, lineage, load_prior, read_card
from tomopilot.prior.denoiser import in_range
from tomopilot.prior.train import FINISHED, STATE, Progress, branched, revive, train
from tomopilot.prior.training import Training, read_training
from tomopilot.report.prior_sheet import leave_losses, report_prior
from tomopilot.scan.notices import CLOSE
from tomopilot.units import lengths

KEYS = {"recipe": str, "images": list, "validation": str, "hours": (int, float)}
MORE = {"start_from": str, "kept": str, "trained": str, "card": dict}  # card: what it says of these images
PHANTOM = "phantom:"  # images that are made, and lie in no folder
HELD = 20  # without validation images, every so many-th image is held back,
FEW = 100  # and a fifth of fewer than these


class Slices(NamedTuple):
    """Images to train on, with group and chance of each, and those held back."""

    images: list[Tensor]
    groups: list[str] | None
    chances: list[float]
    held: list[Tensor]


@dataclass(frozen=True)
class Task:
    """One prior to train: recipe, what its card says, images, and hours at a constant rate."""

    training: Training
    card: Mapping[str, Any]
    images: tuple[str, ...]
    validation: str | None = None
    hours: float = math.inf
    start_from: str | Path | None = None  # a prior whose weights are taken over
    kept: Path | None = None  # a prior of an earlier state, to go on from where OUT has none

    @property
    def name(self) -> str:
        return self.card["name"]

    @cached_property
    def slices(self) -> Slices:
        """What it is trained on, read once."""
        images, groups = self._read(self.images), read_groups(self.images, self.training.evenly)
        chances = read_chances(self.images, self.training.chances)
        if self.validation is not None:
            return Slices(images, groups, chances, self._read([self.validation]))
        if len(images) < 2:
            raise ValueError("only one training image was given; name more, or use --validation")
        every = HELD if len(images) >= FEW else 5
        some = [i for i in range(len(images)) if i % every]
        groups = groups and [groups[i] for i in some]
        return Slices([images[i] for i in some], groups, [chances[i] for i in some], images[::every])

    def _read(self, specs: Sequence[str]) -> list[Tensor]:
        """Slices whose values fit the recipe's range, all together."""
        images = read_slices(specs)
        low, high = min(i.min().item() for i in images), max(i.max().item() for i in images)
        if not in_range(low, high, self.training.range):
            raise ValueError(
                f"the images of {', '.join(specs)} have values from {low:g} to {high:g}, but the recipe's "
                f"range is {list(self.training.range)}: rescale them or change the range"
            )
        return images

    @property
    def described(self) -> list[str]:
        """The files that were trained on, as the card names them, without their place."""
        return [Path(spec).name for spec in self.images]

    def stretch(self, out: Path, origin: Mapping[str, Any], device: str) -> Iterator[Progress]:
        """Starts or continues, until the hours are over or the recipe's last step is done."""
        if self.kept is not None and not (out / STATE).is_file():
            revive(self.kept, out, self.training)
        yield from self._steps(out, self.training, origin, device, (out / STATE).is_file(), self.hours)

    def finish(self, out: Path, origin: Mapping[str, Any], device: str) -> Iterator[Progress]:
        """Lets the rate fall to 0, on a branch of its own, and leaves pictures beside the prior."""
        final, training = branched(out, self.training)
        yield from self._steps(final, training, origin, device, True, math.inf)
        self.report(final, device)

    def report(self, out: Path, device: str) -> None:
        """Pictures of the prior, and what they show, in its card."""
        report_prior(out, self.slices.images, self.slices.held, device)

    def doubts(self) -> list[str]:
        """In what these images differ from those of the prior it starts from; that may be meant."""
        if self.start_from is None:
            return []
        before = read_card(folder_of(self.start_from))
        known = [key for key in ("pixel_size", "unit") if key in before and key in self.card]
        return [
            f"the {key.replace('_', ' ')} of these images is {self.card[key]}, of those that "
            f"{before.get('name')} was trained on {before[key]}: what it knows may not apply"
            for key in known
            if not _alike(key, before[key], self.card[key])
        ]

    def _steps(
        self,
        out: Path,
        training: Training,
        origin: Mapping[str, Any],
        device: str,
        resume: bool,
        hours: float,
    ) -> Iterator[Progress]:
        images, groups, chances, held = self.slices
        start = None if self.start_from is None else load_prior(self.start_from, device)
        counts = {"trained_on": len(images), "held_back": len(held)}
        card = {**self.card, "images": self.described, "slices": counts, "seed": training.seed, **origin}
        if start is not None:
            card["started_from"] = lineage(start.card)
        yield from train(
            images, training, out,
            validation=held, card=card, groups=groups, weights=chances, device=device, resume=resume,
            start=None if resume else start, hours=hours,
        )  # fmt: skip
        leave_losses(out)


def _alike(key: str, one: str, other: str) -> bool:
    if key != "pixel_size":
        return one == other
    (low, high), (least, most) = lengths(one), lengths(other)
    return low <= CLOSE * most and least <= CLOSE * high


def read_queue(path: Path, out: Path) -> list[Task]:
    """The tasks of a TOML file of [[prior]] tables; files of images lie in TOMOPILOT_DATA.

    Each trains in its folder in `out`, where later ones find the priors that they start from; those that are
    `trained` already lie in the folder that this names. Raises ValueError where a key, a recipe or a file of
    images is missing, before anything is trained.
    """
    try:
        tables = tomllib.loads(read_text(path)).get("prior")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the queue {path} cannot be read ({error})") from None
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"the queue {path} has no [[prior]] tables; see recipes/queue.toml")
    tasks: list[Task] = []
    origins: dict[str, Path] = {}
    for table in tables:
        task = _task(path, table, origins)
        if "trained" in table:
            origins[task.name] = _prior(path, table["trained"])
            continue
        tasks.append(task)
        origins[task.name] = out / task.name / FINISHED
    return tasks


def data_folder(path: Path) -> Path:
    """TOMOPILOT_DATA, or the folder shared/data beside the clone that a queue belongs to."""
    return Path(os.environ.get("TOMOPILOT_DATA") or path.resolve().parents[2] / "shared" / "data")


def _task(path: Path, table: Mapping[str, Any], origins: Mapping[str, Path]) -> Task:
    _check_keys(path, table)
    training, card = read_training(path.parent / table["recipe"])
    start = table.get("start_from")
    if start is not None and start not in origins:
        raise ValueError(
            f"{card['name']} in the queue {path} starts from {start!r}, which no earlier entry trains"
        )
    data = data_folder(path)
    named = (*table["images"], table["validation"])
    files = [name if name.startswith(PHANTOM) else str(data / name) for name in named]
    missing = [
        name for name in files if not name.startswith(PHANTOM) and not Path(name.partition("::")[0]).is_file()
    ]
    if missing:
        raise ValueError(f"{missing[0]} is named in the queue {path}, but does not exist; set TOMOPILOT_DATA")
    kept = _prior(path, table["kept"]) if "kept" in table else None
    *images, validation = files
    origin = None if start is None else origins[start]
    training = replace(training, steps=0)
    card |= table.get("card", {})
    return Task(training, card, tuple(images), validation, table["hours"], origin, kept)


def _prior(path: Path, name: str) -> Path:
    """The folder of a prior, as seen from the queue."""
    folder = path.parent / name
    if not (folder / "prior.safetensors").is_file():
        raise ValueError(f"{folder} is named in the queue {path}, but contains no prior")
    return folder


def _check_keys(path: Path, table: Mapping[str, Any]) -> None:
    for key, kind in (KEYS | MORE).items():
        if key not in table and key in KEYS:
            raise ValueError(f"a prior in the queue {path} lacks {key!r}; it needs {', '.join(KEYS)}")
        if key in table and not isinstance(table[key], kind):
            raise ValueError(f"a prior in the queue {path} has {key} = {table[key]!r}, of the wrong type")
    if unknown := sorted(set(table) - set(KEYS | MORE)):
        known = ", ".join(KEYS | MORE)
        raise ValueError(f"the queue {path} has the unknown key {unknown[0]!r}; the known ones are {known}")
