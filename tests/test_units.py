import pytest

from tomopilot.prior.checkpoint import prior_folders, read_card
from tomopilot.units import length, lengths, readable

KNOWN = {
    "0.1um": (1e-7, 1e-7),
    "0.1 \N{MICRO SIGN}m": (1e-7, 1e-7),
    "0.03 to 0.3 um": (3e-8, 3e-7),
    "2 mm (26 cm across)": (2e-3, 2e-3),
    "1e-3 meters": (1e-3, 1e-3),
}


@pytest.mark.parametrize("text", KNOWN)
def test_lengths(text):
    assert lengths(text) == pytest.approx(KNOWN[text])


@pytest.mark.parametrize(
    "text", ["", "3", "um", "0 mm", "-1 mm", "nan mm", "2 to 1 mm", "1..2 mm", "1 stone"]
)
def test_what_is_no_length(text):
    with pytest.raises(ValueError, match="expected one such as"):
        lengths(text)


def test_a_range_is_no_single_length():
    with pytest.raises(ValueError, match="is a range"):
        length("1 to 2 mm")


@pytest.mark.parametrize("size", [2e-3, 6.5e-7, 1.0, 0.999e-6, 3e-10])
def test_readable_lengths_read_back(size):
    assert length(readable(size)) == pytest.approx(size)


def test_shipped_cards_say_lengths():
    said = [card["pixel_size"] for card in map(read_card, prior_folders().values()) if "pixel_size" in card]
    assert said and all(lengths(text) for text in said)
