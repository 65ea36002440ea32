"""What a run has measured and found so far, in SQLite: on disk before anything else happens."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from tomopilot.disk import is_own

SCHEMA = """
create table if not exists about (key text primary key, value text not null);
create table if not exists blocks (
    scan text, number integer, design integer, told text, dtype text, shape text, bytes blob, digest text,
    primary key (scan, number)
);
create table if not exists steps (
    scan text, number integer, row text, digest text, primary key (scan, number)
);
create table if not exists draws (scan text primary key, number integer, tensors blob, digest text);
create table if not exists estimates (scan text primary key, number integer, tensors blob, digest text);
"""


class Block(NamedTuple):
    """A measurement as it was told."""

    design: int
    values: Tensor
    setting: float | list[float] | None = None  # that was reached; None: the design's own
    noise: dict[str, Any] | None = None  # in words; None: the experiment's


class Archive:
    """Measured blocks and judged steps of any number of scans, each known by a name.

    What a method has returned from is on disk, also after the process or the machine is killed. Any number of
    processes of one machine may write different scans at once. The journal is a write-ahead log on a file
    system of this machine, and a rollback journal on any other, where such a log is not safe. Threads take
    turns: one at a time may call it.
    """

    schema = SCHEMA

    def __init__(self, path: Path, checked: bool = True) -> None:
        """checked: the whole file is read once for damage; what is read of it later is checked anyway"""
        self.path = Path(path)
        try:
            self.connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self.connection.execute(f"pragma journal_mode = {'wal' if is_own(self.path) else 'delete'}")
            self.connection.execute("pragma synchronous = extra")
            self.connection.executescript(self.schema)
            check = "pragma quick_check(1)" if checked else "select 'ok'"
            (health,) = self.connection.execute(check).fetchone()
        except sqlite3.Error as error:
            raise OSError(
                f"{path} cannot be used as the record of a run ({error}); choose another --out"
            ) from None
        if health != "ok":
            raise OSError(f"{path} is damaged ({health}); fetch it from a copy")

    def _do(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        try:
            return self.connection.execute(query, values).fetchall()
        except sqlite3.IntegrityError as error:
            raise ValueError(
                f"{self.path} is being written by another process ({error}); let it finish"
            ) from None
        except sqlite3.Error as error:
            raise OSError(
                f"{self.path} cannot be read or written ({error}); is it damaged, or the disk full?"
            ) from None

    def describe(self, key: str, value: Any) -> None:
        self._do("insert or replace into about values (?, ?)", (key, json.dumps(value)))

    def described(self, key: str) -> Any:
        """What `describe` was last told of `key`, or None."""
        found = self._do("select value from about where key = ?", (key,))
        return json.loads(found[0][0]) if found else None

    def add_block(self, scan: str, number: int, block: Block) -> None:
        """Keeps the `number`-th measurement of a scan."""
        array = block.values.cpu().numpy()
        told = json.dumps([block.setting, block.noise])
        row = (scan, number, block.design, told, str(array.dtype), json.dumps(array.shape), array.tobytes())
        self._do("insert into blocks values (?, ?, ?, ?, ?, ?, ?, ?)", (*row, digest(row)))

    def blocks(self, scan: str) -> list[Block]:
        """Each measurement, in the order taken."""
        return list(self.each_block(scan))

    def each_block(self, scan: str) -> Iterator[Block]:
        """Each measurement, in the order taken, read when it is its turn: frames may be large."""
        found = self._do("select number from blocks where scan = ? order by number", (scan,))
        numbers = [number for (number,) in found]
        self._check(numbers == [*range(1, len(numbers) + 1)])
        for number in numbers:
            (row,) = self._whole("select * from blocks where scan = ? and number = ?", (scan, number))
            _, _, design, told, dtype, shape, content = row
            array = np.frombuffer(content, dtype).reshape(json.loads(shape)).copy()
            yield Block(design, torch.from_numpy(array), *json.loads(told))

    def add_step(
        self, scan: str, number: int, row: dict[str, Any], draws: Mapping[str, Tensor] | None = None
    ) -> None:
        """Keeps a judged step and, instead of those of the step before, the samples it decided by."""
        with self.at_once():
            self._put("steps", (scan, number, json.dumps(row)))
            if draws:
                self._put("draws", (scan, number, _packed(draws)))

    def draws(self, scan: str, number: int) -> dict[str, Tensor] | None:
        """The samples that the `number`-th step decided by, if it was the latest to need any."""
        return self._tensors("draws", scan, number)

    def drawn(self, scan: str) -> int | None:
        """The latest step that needed samples to decide by."""
        found = self._do("select number from draws where scan = ?", (scan,))
        return found[0][0] if found else None

    def add_estimate(self, scan: str, number: int, tensors: Mapping[str, Tensor]) -> None:
        """Keeps what a scan ended with, after so many measurements."""
        self._put("estimates", (scan, number, _packed(tensors)))

    def estimate(self, scan: str, number: int) -> dict[str, Tensor] | None:
        """What a scan ended with after so many measurements; None where it has not ended there."""
        return self._tensors("estimates", scan, number)

    def steps(self, scan: str) -> list[dict[str, Any]]:
        """The judged steps of a scan, in order."""
        query = "select * from steps where scan = ? order by number"
        rows = self._whole(query, (scan,))
        self._check([number for _, number, _ in rows] == [*range(1, len(rows) + 1)])
        return [json.loads(row) for _, _, row in rows]

    def size(self, *scans: str) -> int:
        """How far scans are: the number of their blocks, steps and estimates."""
        return self._size("main", scans)

    def take(self, path: Path, *scans: str) -> None:
        """Replaces scans by those of another record where that is further along; all of them, or none."""
        self._do("attach database ? as other", (str(path),))
        try:
            if self._size("other", scans) > self._size("main", scans):
                self._replace(scans)
        finally:
            self._do("detach database other", ())

    def close(self) -> None:
        self.connection.close()

    def _size(self, database: str, scans: tuple[str, ...]) -> int:
        if not self._do(f"select 1 from {database}.sqlite_master where name = 'estimates'", ()):
            return 0  # its writer was killed before it had made the tables
        query = "select count(*) from {}.{} where scan in ({})"
        marks = ", ".join("?" * len(scans))
        counted = ("blocks", "steps", "estimates")
        return sum(self._do(query.format(database, table, marks), scans)[0][0] for table in counted)

    def _replace(self, scans: tuple[str, ...]) -> None:
        """The scans of the attached record instead of our own."""
        chosen = f"where scan in ({', '.join('?' * len(scans))})"
        with self.at_once():
            for table in ("blocks", "steps", "draws", "estimates"):
                self._do(f"delete from main.{table} {chosen}", scans)
                self._do(f"insert into main.{table} select * from other.{table} {chosen}", scans)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is written inside is kept together, or not at all."""
        if self.connection.in_transaction:  # of an outer one
            yield
            return
        self._do("begin", ())
        try:
            yield
            self._do("commit", ())
        except BaseException:
            if self.connection.in_transaction:
                self._do("rollback", ())
            raise

    def _put(self, table: str, row: tuple[Any, ...]) -> None:
        self._do(f"insert or replace into {table} values (?, ?, ?, ?)", (*row, digest(row)))

    def _tensors(self, table: str, scan: str, number: int) -> dict[str, Tensor] | None:
        query = f"select * from {table} where scan = ? and number = ?"
        found = self._whole(query, (scan, number))
        return safetensors.torch.load(found[0][2]) if found else None

    def _whole(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Rows as they were written; raises where one was changed since."""
        rows = self._do(query, values)
        self._check(all(digest(row[:-1]) == row[-1] for row in rows))
        return [row[:-1] for row in rows]

    def _check(self, whole: bool) -> None:
        """Raises where rows were changed, or one is missing between others."""
        if not whole:
            raise OSError(f"{self.path} was changed or damaged since it was written; fetch it from a copy")


def digest(row: Sequence[Any]) -> str:
    """Of a row: scan, number, and what it holds."""
    found = hashlib.sha256()
    for value in row:
        content = value if isinstance(value, bytes) else str(value).encode()
        found.update(len(content).to_bytes(8, "little") + content)
    return found.hexdigest()


def _packed(tensors: Mapping[str, Tensor]) -> bytes:
    plain = {
        name: value.cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }
    return safetensors.torch.save(plain)
