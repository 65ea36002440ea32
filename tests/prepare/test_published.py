"""Archives by name: fetched from a server of the test's own, checked, unpacked; else what to do."""

import hashlib
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tomopilot.prepare.published import PUBLISHED, Published

pytest.importorskip("pooch")


class Quiet(SimpleHTTPRequestHandler):
    """Counts what it serves."""

    asked: ClassVar[list[str]] = []

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """The address of a folder, in which `one.zip` holds two files."""
    (tmp_path / "there").mkdir()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("part_001.hdf5", b"second")
        archive.writestr("part_000.hdf5", b"first")
    (tmp_path / "there" / "one.zip").write_bytes(content.getvalue())
    Quiet.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path / "there")) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


@pytest.fixture
def archive(server, tmp_path):
    checksum = "md5:" + hashlib.md5((tmp_path / "there" / "one.zip").read_bytes()).hexdigest()
    return Published("Test", "page", "steps", files={"one.zip": checksum}, place=server)


def test_a_zip_is_fetched_once_and_unpacked(archive, tmp_path):
    for _ in range(2):
        ((first, second),) = archive.fetch(tmp_path / "here")
        assert [Path(path).read_text() for path in (first, second)] == ["first", "second"]
    assert Quiet.asked == ["/one.zip?download=1"]


def test_a_file_that_was_put_there_by_hand_is_taken(archive, tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "one.zip").write_bytes((tmp_path / "there" / "one.zip").read_bytes())
    assert len(archive.fetch(tmp_path / "here")[0]) == 2 and not Quiet.asked


def test_another_file_than_the_published_one_is_rejected(archive, tmp_path):
    with zipfile.ZipFile(tmp_path / "there" / "one.zip", "a") as more:
        more.writestr("part_002.hdf5", b"third")
    with pytest.raises(OSError, match=r"one\.zip is not the published file \(its checksum differs\)"):
        archive.fetch(tmp_path / "here")
    assert not list((tmp_path / "here").glob("one.zip*"))


def test_offline_is_said_in_a_sentence(tmp_path):
    nowhere = Published("Test", "page", "", files={"one.zip": "md5:" + "0" * 32}, place="http://127.0.0.1:9/")
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/one\.zip\S* cannot be reached .*put the file into"):
        nowhere.fetch(tmp_path / "here")


def test_a_file_that_is_not_there_is_said_too(archive, tmp_path):
    (tmp_path / "there" / "one.zip").unlink()
    with pytest.raises(OSError, match=r"cannot be reached \(HTTPError\)"):
        archive.fetch(tmp_path / "here")


@pytest.mark.parametrize("name", sorted(set(PUBLISHED) - {"lodopab"}))
def test_what_may_not_be_fetched_is_answered_with_the_steps(name, tmp_path):
    archive = PUBLISHED[name]
    with pytest.raises(
        ValueError, match=r"is not downloaded by this command: .*tomopilot prepare "
    ) as caught:
        archive.fetch(tmp_path / "here")
    assert archive.page in str(caught.value) and not (tmp_path / "here").exists()


def test_lodopab_has_a_checksum_for_each_part():
    archive = PUBLISHED["lodopab"]
    assert list(archive.files) == ["ground_truth_train.zip", "ground_truth_validation.zip"]
    assert all(len(checksum) == len("md5:") + 32 for checksum in archive.files.values())
