"""The archive: what it was told is there afterwards, to the bit, whatever happens to the process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tomopilot.files.archive import Archive, Block

BLOCKS = [
    torch.linspace(-1, 1, 7),
    torch.linspace(0, 1, 6, dtype=torch.float64).reshape(2, 3),
    torch.complex(torch.ones(4), torch.arange(4.0)),
    torch.tensor([-0.0, 1e-45, 3e38, 0.1]),
    torch.zeros(0),
    torch.arange(5),
]
CHILD = """
import os, sys, torch
from tomopilot.files.archive import Archive, Block
path, scan, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
archive = Archive(path)
print("ready", flush=True)
for number in range(1, count + 1):
    archive.add_block(scan, number, Block(number + 10, torch.full((3,), number / 7)))
os._exit(9)
"""


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to the bit, which tells 0 from -0."""
    return one.dtype == other.dtype and one.shape == other.shape and repr(one) == repr(other)


def child(path: Path, scan: str, count: int) -> subprocess.Popen[str]:
    """Another process that adds blocks and then ends without any tidying up."""
    command = [sys.executable, "-c", CHILD, str(path), scan, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "run.db"


@pytest.mark.parametrize("values", BLOCKS, ids=lambda values: f"{values.dtype}-{[*values.shape]}")
def test_a_block_comes_back_exactly(values, path):
    archive = Archive(path)
    archive.add_block("scan", 1, Block(5, values))
    archive.close()
    ((design, found, *_),) = Archive(path).blocks("scan")
    assert design == 5 and same(found, values)


def test_values_may_be_a_view(path):
    values = torch.arange(12.0).reshape(3, 4).T[1:, ::2]
    archive = Archive(path)
    archive.add_block("scan", 1, Block(0, values))
    assert same(archive.blocks("scan")[0][1], values)


def test_what_comes_back_is_the_callers_own(path):
    archive = Archive(path)
    archive.add_block("scan", 1, Block(0, torch.zeros(3)))
    archive.blocks("scan")[0][1].add_(1)
    assert same(archive.blocks("scan")[0][1], torch.zeros(3))


def test_order_is_by_number(path):
    archive = Archive(path)
    for number in (2, 4, 1, 3):
        archive.add_block("scan", number, Block(100 - number, torch.zeros(1)))
        archive.add_step("scan", number, {"count": number})
    assert [design for design, *_ in archive.blocks("scan")] == [99, 98, 97, 96]
    assert [row["count"] for row in archive.steps("scan")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "damage",
    [
        "delete from blocks where number = 2",
        "update blocks set design = 7 where number = 2",
        "update blocks set bytes = zeroblob(4) where number = 2",
        "update blocks set number = 9 where number = 3",
    ],
)
def test_a_record_that_was_changed_is_rejected(path, damage):
    archive = Archive(path)
    for number in (1, 2, 3):
        archive.add_block("scan", number, Block(number, torch.ones(1)))
    assert len(archive.blocks("scan")) == 3
    archive.connection.execute(damage)
    with pytest.raises(OSError, match="changed or damaged"):
        archive.blocks("scan")


def test_scans_do_not_mix(path):
    archive = Archive(path)
    for design, scan in enumerate(("a", "b", "A", "a%", "")):
        archive.add_block(scan, 1, Block(design, torch.zeros(1)))
        archive.add_step(scan, 1, {"scan": scan})
    for design, scan in enumerate(("a", "b", "A", "a%", "")):
        assert [found for found, *_ in archive.blocks(scan)] == [design]
        assert archive.steps(scan) == [{"scan": scan}]
    assert archive.blocks("c") == [] and archive.steps("c") == []


def test_a_measurement_is_never_overwritten(path):
    archive = Archive(path)
    archive.add_block("scan", 1, Block(4, torch.zeros(2)))
    with pytest.raises(Exception, match=r"(?i)unique"):
        archive.add_block("scan", 1, Block(5, torch.ones(2)))
    assert [(design, values.tolist()) for design, values, *_ in archive.blocks("scan")] == [(4, [0.0, 0.0])]


def test_a_step_judged_again_replaces_the_first(path):
    archive = Archive(path)
    for psnr in (1.0, 2.0):
        archive.add_step("scan", 1, {"psnr": psnr})
    assert archive.steps("scan") == [{"psnr": 2.0}]


def test_steps_and_descriptions_come_back_as_told(path):
    row = {"image": "ä::1", "psnr": 0.1 + 0.2, "spread": None, "scores": [None, 1e-300, 5], "split": {"a": 0}}
    archive = Archive(path)
    archive.add_step("scan", 1, row)
    archive.describe("run", row)
    archive.close()
    again = Archive(path)
    assert again.steps("scan") == [row] and again.described("run") == row
    assert again.described("other") is None


DRAWS = {"images": torch.randn(3, 4, 5, dtype=torch.float64), "guess": torch.tensor([-0.0, 1e-45, torch.nan])}


def test_draws_come_back_exactly(path):
    archive = Archive(path)
    archive.add_step("scan", 2, {"count": 2}, DRAWS)
    archive.close()
    found = Archive(path).draws("scan", 2)
    assert found is not None and found.keys() == DRAWS.keys()
    assert all(same(found[name], DRAWS[name]) for name in DRAWS)


def test_draws_may_be_views(path):
    view = torch.arange(12.0).reshape(3, 4).T
    archive = Archive(path)
    archive.add_step("scan", 2, {}, {"images": view})
    assert same(archive.draws("scan", 2)["images"], view)


def test_a_failed_step_leaves_a_usable_archive(path):
    archive = Archive(path)
    with pytest.raises(AttributeError):
        archive.add_step("scan", 1, {"count": 1}, {"images": None})
    assert archive.steps("scan") == []
    archive.add_step("scan", 1, {"count": 2}, DRAWS)
    assert archive.steps("scan") == [{"count": 2}]


def test_only_the_latest_draws_are_kept(path):
    archive = Archive(path)
    assert archive.draws("scan", 1) is None
    for number in (1, 2):
        archive.add_step("scan", number, {}, {"images": torch.full((2,), float(number))})
    archive.add_step("other", 1, {}, {"images": torch.zeros(2)})
    archive.add_step("scan", 3, {})  # needed none
    assert [archive.draws("scan", number) for number in (0, 1, 3)] == [None] * 3
    assert same(archive.draws("scan", 2)["images"], torch.full((2,), 2.0))
    assert same(archive.draws("other", 1)["images"], torch.zeros(2))


def test_a_step_and_its_draws_are_kept_together_or_not_at_all(path):
    archive = Archive(path)
    archive.add_step("scan", 1, {"count": 1}, DRAWS)
    archive.connection.execute(
        "create trigger full before insert on draws begin select raise(abort, 'disk full'); end"
    )
    with pytest.raises((OSError, ValueError), match="disk full"):
        archive.add_step("scan", 2, {"count": 2}, DRAWS)
    archive.close()
    again = Archive(path)
    assert again.steps("scan") == [{"count": 1}]
    assert again.draws("scan", 1) is not None and again.draws("scan", 2) is None


def test_a_block_outlives_the_process_that_added_it(path):
    process = child(path, "scan", 3)
    process.communicate(timeout=900)
    assert process.returncode == 9
    assert [(design, values[0].item()) for design, values, *_ in Archive(path).blocks("scan")] == [
        (number + 10, pytest.approx(number / 7)) for number in (1, 2, 3)
    ]


def test_two_processes_write_at_once(path):
    archive, process = Archive(path), child(path, "theirs", 100)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for number in range(1, 101):
        archive.add_block("ours", number, Block(number, torch.full((3,), number / 7)))
    process.communicate(timeout=900)
    assert process.returncode == 9
    assert [design for design, *_ in archive.blocks("ours")] == [*range(1, 101)]
    assert [design for design, *_ in archive.blocks("theirs")] == [*range(11, 111)]


@pytest.mark.parametrize("kind", ["folder", "below a file", "no folder", "foreign file"])
def test_what_cannot_be_opened_says_so(kind, tmp_path):
    (tmp_path / "file").write_text("not a database, but long enough to be looked at" * 100)
    place = {
        "folder": tmp_path,
        "below a file": tmp_path / "file" / "run.db",
        "no folder": tmp_path / "none" / "run.db",
        "foreign file": tmp_path / "file",
    }[kind]
    with pytest.raises(OSError, match=r"cannot be used as the record of a run .*choose another --out"):
        Archive(place)


def test_a_truncated_file_says_so(path):
    """Cut in the middle of its pages, as after a full disk or a broken copy."""
    archive = Archive(path)
    for number in range(1, 40):
        archive.add_block("scan", number, Block(number, torch.zeros(400)))
    archive.close()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(OSError, match=str(path)):
        Archive(path).blocks("scan")
