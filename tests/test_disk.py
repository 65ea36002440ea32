import os

import pytest

from tomopilot.disk import TEXT, read_text


def test_small_texts_are_bounded(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(TEXT + 1)
    for name, words in (("pipe", "a pipe"), ("large", "at most"), ("", "a folder"), ("absent", "not exist")):
        with pytest.raises(OSError, match=words):
            read_text(tmp_path / name)
