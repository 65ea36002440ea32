"""One writer a folder: the second hears who is the first; the dead hold nothing."""

import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from tomopilot.scan.lock import LOCK, locked


def owner(tmp_path, **changes) -> None:
    """A lock that somebody else has made."""
    known = {"host": socket.gethostname(), "pid": os.getpid(), "since": "2026-01-02 03:04:05", "born": "1"}
    (tmp_path / LOCK).write_text(json.dumps(known | changes))


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.communicate(timeout=600)
    return process.pid


def test_a_second_writer_hears_who_is_the_first(tmp_path):
    with locked(tmp_path):
        with (
            pytest.raises(ValueError, match=rf"{tmp_path} is being written by process {os.getpid()} of this"),
            locked(tmp_path),
        ):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_a_folder_is_free_again_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("born", ["1", None])
def test_the_lock_of_a_dead_process_is_taken_over(born, tmp_path):
    owner(tmp_path, pid=dead(), born=born)
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_a_new_process_of_the_same_number_is_another(tmp_path):
    owner(tmp_path, born="1")  # our number, but we began later
    with locked(tmp_path):
        pass


def test_another_machine_cannot_be_asked(tmp_path):
    owner(tmp_path, host="node7", pid=dead())
    with (
        pytest.raises(ValueError, match=rf"process \d+ on node7 since 2026-01-02 03:04:05.* delete .*{LOCK}"),
        locked(tmp_path),
    ):
        pass


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"host": 1}', '{"host": 1, "pid": "x", "since": 1, "born": 1}']
)
def test_a_lock_that_says_nothing(text, tmp_path):
    (tmp_path / LOCK).write_text(text)
    with pytest.raises(ValueError, match="does not say who"), locked(tmp_path):
        pass


def test_one_of_many_takes_over(tmp_path):
    owner(tmp_path, pid=dead())
    tried, held = threading.Barrier(8), []

    def attempt() -> None:
        try:
            with locked(tmp_path):
                held.append(True)
                tried.wait(600)
        except ValueError:
            tried.wait(600)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert held == [True] and not (tmp_path / LOCK).exists()
