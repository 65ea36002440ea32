"""Records on file systems that several machines share, and records that take scans over from each other."""

import pytest
import torch

from tomopilot import disk
from tomopilot.files.archive import Archive, Block


@pytest.mark.parametrize(
    ("kind", "journal"), [("ext4", "wal"), ("nfs4", "delete"), ("lustre", "delete"), (None, "delete")]
)
def test_the_journal_follows_the_file_system(kind, journal, tmp_path, monkeypatch):
    """Unknown ones count as shared."""
    table = tmp_path / "mounts"
    monkeypatch.setattr(disk, "MOUNTS", table)
    (tmp_path / "a b").mkdir()
    if kind:
        place = str(tmp_path / "a b").replace(" ", r"\040")
        table.write_text(
            f"/dev/a / {'nfs' if kind == 'ext4' else 'ext4'} rw 0 0\nhost:/b {place} {kind} rw 0 0\n"
        )
    archive = Archive(tmp_path / "a b" / "run.db")
    assert archive.connection.execute("pragma journal_mode").fetchone() == (journal,)
    archive.add_block("scan", 1, Block(3, torch.zeros(2)))
    archive.close()
    again = Archive(tmp_path / "a b" / "run.db")
    assert [block.design for block in again.blocks("scan")] == [3]
    again.close()


def record(path, count, ended=False):
    archive = Archive(path)
    for number in range(1, count + 1):
        archive.add_block("scan", number, Block(number, torch.full((2,), float(count))))
        archive.add_step("scan", number, {"count": number}, {"images": torch.zeros(1)})
    if ended:
        archive.add_estimate("scan", count, {"guess": torch.zeros(1)})
    return archive


@pytest.mark.parametrize(
    ("ours", "theirs", "ended"), [(2, 3, False), (3, 2, True), (0, 1, True), (2, 2, True)]
)
def test_a_scan_is_taken_over_whole_where_it_is_further_along(ours, theirs, ended, tmp_path):
    archive = record(tmp_path / "own.db", ours)
    record(tmp_path / "other.db", theirs, ended).close()
    archive.add_block("else", 1, Block(7, torch.zeros(1)))
    archive.take(tmp_path / "other.db", "scan")
    most = max((ours * 2, ours), (theirs * 2 + ended, theirs))[1]
    assert [block.values[0] for block in archive.blocks("scan")] == [most] * most
    assert len(archive.steps("scan")) == most and archive.draws("scan", most) is not None
    assert [block.design for block in archive.blocks("else")] == [7]
    archive.close()


def test_a_record_whose_writer_was_killed_at_once_has_nothing_to_take(tmp_path):
    archive = record(tmp_path / "own.db", 0)
    (tmp_path / "other.db").touch()
    archive.take(tmp_path / "other.db", "scan")
    assert archive.size("scan") == 0
    archive.close()


def test_a_damaged_record_is_not_taken(tmp_path):
    archive = record(tmp_path / "own.db", 1)
    (tmp_path / "other.db").write_text("no data base " * 500)
    with pytest.raises(OSError, match="cannot be read"):
        archive.take(tmp_path / "other.db", "scan")
    assert len(archive.blocks("scan")) == 1
    archive.close()
