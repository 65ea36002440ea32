import numpy as np
import pytest

from tomopilot.files.reading import InputFileError
from tomopilot.raw.angles import radians, repeated

DEGREES = np.arange(0, 180, 2.0)


@pytest.mark.parametrize(
    ("values", "said", "angles_in"),
    [
        (DEGREES, "degree", None),
        (DEGREES, "deg", None),
        (DEGREES, "\N{DEGREE SIGN}", None),
        (DEGREES, "", "degrees"),
        (DEGREES, "radians", "degrees"),
        (np.deg2rad(DEGREES), "rad", None),
        (np.deg2rad(DEGREES), "angles_rad", None),
        (np.deg2rad(DEGREES), "degree", "radians"),
    ],
)
def test_units(values, said, angles_in):
    np.testing.assert_allclose(radians(values, said, angles_in), np.deg2rad(DEGREES))


@pytest.mark.parametrize("said", ["", None, "angles", "theta", "gon", "degrees or radians"])
def test_a_unit_is_never_guessed(said):
    with pytest.raises(InputFileError, match=r"from 0 to 178, in the unit .*--angles-in degrees"):
        radians(DEGREES, said, None)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.deg2rad(DEGREES), "degree"),
        (np.linspace(0, np.pi, 91), "degree"),
        (np.linspace(-np.pi, np.pi, 360, endpoint=False), "degrees"),
        (DEGREES, "radian"),
    ],
)
def test_the_other_unit_is_noticed(values, said):
    with pytest.raises(InputFileError, match=r"are said to be .*--angles-in"):
        radians(values, said, None)


@pytest.mark.parametrize("values", [np.arange(0, 6, 0.1), np.array([0.0]), np.array([10.0, 0.5])])
def test_few_degrees_are_degrees(values):
    np.testing.assert_allclose(radians(values, "degrees", None), np.deg2rad(values))


def test_a_unit_that_is_not_known():
    with pytest.raises(InputFileError, match=r"gon.*expected degrees or radians"):
        radians(DEGREES, "degree", "gon")


@pytest.mark.parametrize(
    ("degrees", "pairs"),
    [
        ([0, 90, 180, 270], []),
        ([0, 90, 180, 270, 360], [(4, 0)]),
        ([360, 90, 0], [(2, 0)]),
        ([10, 10, 370, 20], [(1, 0), (2, 0)]),
        ([-1e-7, 0, 5], [(1, 0)]),
    ],
)
def test_repeated(degrees, pairs):
    assert repeated(np.deg2rad(degrees)) == pairs
