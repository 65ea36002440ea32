"""What a live scan may be told of itself, and what is rejected before it begins."""

import json
import math
from contextlib import closing
from dataclasses import replace

import pytest
from live.conftest import SETUP

from tomopilot.files.logbook import Logbook
from tomopilot.live.live import hold
from tomopilot.live.record import BOOK, begin, read_setup
from tomopilot.live.setup import Setup
from tomopilot.measure.noise import Poisson

BAD = {
    "columns": (0, "columns is 0; expected a number from 1 to 32768"),
    "rows": (-1, "rows is -1"),
    "bins": (17, "bins is 17; expected 1 to 16"),
    "axis": (16.0, "axis is 16.0; expected a column of the detector, 0 to 15"),
    "scale": (0.0, "scale is 0.0; expected a finite number above 0"),
    "deadline": (math.inf, "deadline is inf"),
    "dose": (-1.0, "dose is -1.0; expected a finite number, 0 or more"),
    "speed": (0.0, "speed is 0.0; expected a finite number above 0, or nothing"),
    "retries": (-1, "retries is -1"),
    "offset": (math.nan, "offset is nan"),
    "scouts": (0, "scouts is 0"),
    "fallback": ("variance", "fallback 'variance' is unknown; the known ones are golden, uniform"),
    "noise": ("loud", "noise 'loud' is unknown; use flats, gaussian:STD or poisson:I0"),
    "policy": ("oracle", "policy 'oracle' is for known images"),
    "posterior": ("prior", "posterior 'prior' is unknown"),
    "budget": (0, "the budget is 0 measurements"),
    "wedge": (((10.0, 10.5),), "none of the candidate angles is in the wedge"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_setup_is_rejected(name):
    value, message = BAD[name]
    with pytest.raises(ValueError, match=message.replace("(", "\\(")):
        replace(SETUP, **{name: value})


def test_line_integrals_need_a_noise():
    with pytest.raises(ValueError, match="line integrals come without flat fields: state it"):
        replace(SETUP, counts=False)


def test_a_budget_beyond_all_angles_is_rejected():
    with pytest.raises(ValueError, match="the budget is 25 projections, but 24 angles can be reached"):
        replace(SETUP, budget=25).assembled()


def test_a_prior_of_another_size_is_rejected():
    wrong = replace(SETUP, prior="chip-128", posterior="auto", columns=30, bins=30)
    with pytest.raises(ValueError, match="30"):
        wrong.assembled()


def test_a_setup_is_read_from_a_file(tmp_path):
    path = tmp_path / "scan.toml"
    path.write_text("columns = 256\nrows = 64\nangles = [0, 30.5, 60]\nwedge = [[-70, 70]]\nbudget = 3\n")
    setup = Setup.read(path)
    assert setup.angles == (0, 30.5, 60) and setup.wedge == ((-70, 70),)
    assert setup.settled().bins == 128 and setup.settled().device in ("cpu", "cuda")
    path.write_text("columns = 256\ncolour = 3\n")
    with pytest.raises(ValueError, match=r"the setup .*scan.toml cannot be used: colour"):
        Setup.read(path)
    path.write_text("columns = \n")
    with pytest.raises(ValueError, match="cannot be read"):
        Setup.read(path)
    with pytest.raises(ValueError, match="cannot be read"):
        Setup.read(tmp_path / "none.toml")


def test_the_axis_and_the_bins_make_the_geometry():
    """Column 9.5 of 16 is 2 columns right of the middle: 1 bin of 8."""
    setup = replace(SETUP, bins=8, axis=9.5, wedge=((-60.0, 60.0),))
    stack = setup.operator()
    assert repr(stack).startswith("Stack(Radon(size=8") and stack.operator.offset == pytest.approx(1.0)
    assert abs(stack.shown).max().item() == pytest.approx(60, abs=1e-3)
    assert replace(SETUP, rows=1).operator().image_shape == (16, 16)


def test_noise_is_in_units_of_the_prior():
    assert replace(SETUP, noise="gaussian:0.01").usual_noise().std == pytest.approx(0.2)
    assert replace(SETUP, noise="poisson:5000").usual_noise() == Poisson(5000.0, 0.05)


def test_a_setup_that_was_changed_is_noticed(tmp_path):
    begin(tmp_path, SETUP)
    with closing(Logbook(tmp_path / BOOK)) as book:
        assert read_setup(book) == SETUP.settled()
        about = book.described("live")
        other = json.loads(about["setup"]) | {"budget": 9}
        book.describe("live", about | {"setup": json.dumps(other)})
        with pytest.raises(ValueError, match="was changed after it began"):
            read_setup(book)
        book.describe("live", about | {"format": 99})
        with pytest.raises(ValueError, match="another version"):
            read_setup(book)
    with pytest.raises(ValueError, match="contains no live scan"), hold(tmp_path / "none"):
        pass
