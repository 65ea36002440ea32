"""Layouts: the share of each pixel that is covered, exactly; which cell; what is said where there is none."""

import numpy as np
import pytest

from tomopilot.files.layout import Layout
from tomopilot.files.reading import InputFileError

db = pytest.importorskip("klayout.db")
METAL, VIA = (68, 20), (68, 44)


@pytest.fixture(params=["a.gds", "a.oas"])
def path(request, tmp_path):
    """A bar of 1 x 0.5 um, another that overlaps it, and twice a cell with a triangle; units of 1 nm."""
    layout = db.Layout()
    layout.dbu = 0.001
    top, part = layout.create_cell("CHIP"), layout.create_cell("PART")
    metal = layout.layer(*METAL)
    top.shapes(metal).insert(db.Box(0, 0, 1000, 500))
    top.shapes(metal).insert(db.Box(500, 0, 1500, 500))
    part.shapes(metal).insert(db.Polygon([db.Point(0, 0), db.Point(0, 1000), db.Point(1000, 0)]))
    for shift in (2000, 4000):
        top.insert(db.CellInstArray(part, db.Trans(db.Vector(shift, 0))))
    layout.write(str(tmp_path / request.param))
    return tmp_path / request.param


def test_coverage_is_exact_and_overlaps_count_once(path):
    """Pixels of 0.4 um from (0, 0): the bars cover 1.5 x 0.5 um; rows run downwards."""
    covered = Layout(path).coverage(METAL, 0.0, 0.0, 0.4, (2, 4))
    np.testing.assert_allclose(covered, [[0.25, 0.25, 0.25, 0.1875], [1, 1, 1, 0.75]], rtol=1e-6)


def test_coverage_of_slanted_edges_and_cells_in_cells(path):
    """A triangle with legs of 1 um, in pixels of 0.5 um: a half of those that its edge crosses."""
    for left in (2.0, 4.0):
        covered = Layout(path).coverage(METAL, left, 0.0, 0.5, (2, 2))
        np.testing.assert_allclose(covered, [[0.5, 0], [1, 0.5]], rtol=1e-6)


def test_what_is_not_drawn_covers_nothing(path):
    layout = Layout(path)
    assert not layout.coverage(VIA, 0.0, 0.0, 0.4, (2, 3)).any()
    assert not layout.coverage(METAL, -100.0, 50.0, 0.4, (2, 3)).any()


def test_the_box_holds_all_shapes_of_the_layers(path):
    np.testing.assert_allclose(Layout(path).box([METAL, VIA]), (0, 0, 5, 1))
    np.testing.assert_allclose(Layout(path, "PART").box([METAL]), (0, 0, 1, 1))


def test_another_cell_by_name(path):
    assert (Layout(path).name, Layout(path, "PART").name) == ("CHIP", "PART")
    np.testing.assert_allclose(Layout(path, "PART").coverage(METAL, 0.0, 0.0, 1.0, (1, 1)), [[0.5]])


def test_a_cell_that_is_not_there_is_answered_with_those_that_are(path):
    with pytest.raises(InputFileError, match=r"has no cell 'CHOP'; its cells are CHIP, PART: give one"):
        Layout(path, "CHOP")


def test_several_top_cells(tmp_path):
    layout = db.Layout()
    for number in range(30):
        layout.create_cell(f"C{number:02}").shapes(layout.layer(1, 0)).insert(db.Box(0, 0, 9, 9))
    layout.write(str(tmp_path / "many.gds"))
    with pytest.raises(
        InputFileError, match=r"30 top cells C00, C01, .*C19 and 10 more; name one with --top"
    ):
        Layout(tmp_path / "many.gds")


def test_layers_of_another_technology(path):
    with pytest.raises(InputFileError, match=r"no shape on the layers 8/0, 10/0; is the process stack"):
        Layout(path).box([(8, 0), (10, 0)])


def test_a_pixel_between_units(path):
    with pytest.raises(InputFileError, match=r"0\.0375 um is no whole number .* 0\.001 um"):
        Layout(path).coverage(METAL, 0.0, 0.0, 0.0375, (2, 2))


@pytest.mark.parametrize("content", [b"", b"\0\6\0\2garbage", b"%SEMI-OASIS\r\n\1", b"PK\3\4" * 50], ids=str)
def test_what_is_no_layout(tmp_path, content):
    (tmp_path / "a.gds").write_bytes(content)
    with pytest.raises(InputFileError, match=r"a\.gds: "):
        Layout(tmp_path / "a.gds")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_layout(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputFileError, match="the content is not what was expected"):
        Layout(path)


def test_no_file(tmp_path):
    with pytest.raises(InputFileError, match="does not exist"):
        Layout(tmp_path / "none.gds")
