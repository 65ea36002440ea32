import pytest

from tomopilot.files.angles import read_angles
from tomopilot.files.reading import InputFileError


@pytest.mark.parametrize("text", ["0\n1.5\n-90\n", "0, 1.5, -90", "# degrees\n0 1.5  # two\n\n-90"], ids=repr)
def test_degrees_in_any_of_the_usual_ways(text, tmp_path):
    (tmp_path / "angles.txt").write_text(text)
    assert read_angles(tmp_path / "angles.txt") == (0.0, 1.5, -90.0)


BAD = {
    "": "it has 0 angles",
    "# nothing": "it has 0 angles",
    "0\nninety": "'ninety'; expected angles in degrees, one a line",
    "0 nan": "2 angles; expected one or more finite ones",
    "0 0.7854 1.5708 2.3562": "from 0 to 2.3562, which looks like radians; expected degrees",
    "\0\1": "expected angles in degrees",
}


@pytest.mark.parametrize(("text", "said"), BAD.items(), ids=map(repr, BAD))
def test_what_is_no_list_of_degrees(text, said, tmp_path):
    (tmp_path / "angles.txt").write_text(text)
    with pytest.raises(InputFileError, match=rf"^.*angles.txt: .*{said}"):
        read_angles(tmp_path / "angles.txt")


def test_a_few_degrees_are_degrees(tmp_path):
    (tmp_path / "angles.txt").write_text("0 0.5 1 1.5 2")
    assert len(read_angles(tmp_path / "angles.txt")) == 5


@pytest.mark.parametrize("name", [".", "nowhere.txt"])
def test_what_is_no_file(name, tmp_path):
    with pytest.raises(InputFileError, match=r"a folder|does not exist"):
        read_angles(tmp_path / name)
