"""The durable scan: every measurement is on disk before it is used, on any instrument."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from torch import Tensor

from tomopilot.experiment import Experiment, check_measured
from tomopilot.files.archive import Archive, Block
from tomopilot.measure.noise import Noise, from_words, in_words
from tomopilot.measure.operator import Numbers, numbers
from tomopilot.measure.stack import Scouts
from tomopilot.records import Draws, Step, Told
from tomopilot.scan.judge import Row, from_numbers

CARRY = "carry."  # before the names of what a posterior carries on


class Recorded:
    """An experiment and its record; built again from the record, it continues where it was stopped.

    Once `tell` has returned, the measurement is on disk, even if the process or the machine is killed. A
    scan has one writer at a time. Measurements are replayed from the record without clocks: the same
    measurements, the same samples, the same next design.

    scouts: where the experiment sees a few slices of a volume only; the record keeps all of them
    recall: False where whoever keeps more in the record takes its blocks again
    """

    def __init__(
        self,
        experiment: Experiment,
        archive: Archive,
        key: str,
        scouts: Scouts | None = None,
        recall: bool = True,
    ) -> None:
        self.experiment, self.archive, self.key, self.scouts = experiment, archive, key, scouts
        self.rows: list[Row] = archive.steps(key)
        if recall:
            self._recall()

    @property
    def unjudged(self) -> bool:
        """Whether the latest measurement has no row yet: the scan was stopped between the two."""
        return self.experiment.count_told > len(self.rows)

    def suggest(self) -> int:
        """The design to measure next; it is not offered again, unless it fails."""
        return self.experiment.ask()

    def tell(
        self, design: int, values: Numbers, noise: Noise | None = None, setting: Numbers | None = None
    ) -> None:
        """Takes a measurement, as `Experiment.tell`, once it is on disk."""
        block = self.block(design, values, noise, setting)
        self.put(block)
        self.take(block)

    def block(
        self, design: int, values: Numbers, noise: Noise | None = None, setting: Numbers | None = None
    ) -> Block:
        """A measurement as the record keeps it; raises where it is none."""
        whole = self.scouts.whole if self.scouts else self.experiment.operator
        check_measured(whole, design, values, noise or self.experiment.noise, setting)
        reached = None if setting is None else numbers(setting).tolist()
        return Block(design, numbers(values), reached, in_words(noise) if noise else None)

    def put(self, block: Block) -> None:
        """Puts the next measurement on disk."""
        self.archive.add_block(self.key, self.experiment.count_told + 1, block)

    def judge(self, block: Block) -> Told:
        """What the experiment would say of a measurement."""
        return self.experiment.judge(*self._seen(block))

    def take(self, block: Block) -> None:
        """Tells the experiment a measurement that is on disk."""
        self.experiment.tell(*self._seen(block))

    def fail(self, design: int) -> None:
        """A design that was asked for could not be measured: it is free again."""
        self.experiment.pending.pop(design, None)

    def step(
        self,
        measure: Callable[[int], Tensor],
        until: Callable[[Experiment], bool],
        noise: Callable[[int], Noise | None] = lambda design: None,
    ) -> Step:
        """Suggests, measures, tells and decides; a measurement that raises counts as never asked for.

        noise: of the measurement of a design, where it is another than the experiment's
        """
        design = self.suggest()
        try:
            values = measure(design)
        except BaseException:
            self.fail(design)
            raise
        self.tell(design, values, noise(design))
        return self.experiment.step(until)

    def keep(self, row: Row) -> Row:
        """Puts the row of the latest measurement on disk, and the samples by which the next is chosen."""
        chosen_by = self.experiment.scouted()
        tensors = unfold(chosen_by) if chosen_by else None
        self.archive.add_step(self.key, row["count"], row, tensors)
        self.rows.append(row)
        return row

    def state(self) -> dict[str, Any]:
        """Designs measured, asked for, and chosen next, if that is known."""
        experiment = self.experiment
        decided = experiment.decided
        return {
            "measured": list(experiment.designs),
            "pending": sorted(experiment.pending),
            "next": decided and decided.design,
        }

    def _recall(self) -> None:
        """Measurements, surprises and samples, up to where the scan was stopped."""
        blocks, drawn = self.archive.each_block(self.key), self.archive.drawn(self.key)
        for count, block in enumerate(islice(blocks, len(self.rows)), 1):
            self.take(block)
            tensors = self.archive.draws(self.key, count) if count == drawn else None
            if tensors:  # where designs are chosen several at a time, these may not be the last
                self.experiment.take(self.experiment.snapshot, fold(tensors))
        complex_values = self.experiment.operator.complex_values
        told = [
            replace(
                one, surprise=row["surprise"], moves=row.get("moves"),
                deviations=from_numbers(row.get("deviations"), complex_values), worse=row.get("worse"),
            )
            for one, row in zip(self.experiment.told, self.rows, strict=True)
        ]  # fmt: skip
        self.experiment.recall(told, None)
        for block in blocks:
            self.take(block)

    def _seen(self, block: Block) -> tuple[int, Tensor, Noise | None, float | list[float] | None]:
        """What the experiment sees of it."""
        noise = from_words(block.noise) if block.noise else None
        if self.scouts and noise:
            noise = self.scouts.noise(noise)
        seen = self.scouts.rows(block.values) if self.scouts else block.values
        return block.design, seen, noise, block.setting


def unfold(draws: Draws) -> dict[str, Tensor]:
    """Samples and what their posterior carries on, as tensors by name.

    >>> import torch
    >>> [*unfold(Draws(torch.zeros(2, 4, 4), torch.zeros(4, 4), {"state": torch.zeros(1)}))]
    ['images', 'guess', 'carry.state']
    """
    own = {name: getattr(draws, name) for name in ("images", "guess", "moves")}
    carried = {f"{CARRY}{name}": value for name, value in draws.carry.items()}
    return {name: value for name, value in own.items() if value is not None} | carried


def fold(tensors: Mapping[str, Tensor]) -> Draws:
    """The inverse of `unfold`."""
    own = {name: value for name, value in tensors.items() if not name.startswith(CARRY)}
    return Draws(**own, carry={n.removeprefix(CARRY): v for n, v in tensors.items() if n.startswith(CARRY)})
