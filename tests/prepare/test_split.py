"""Validation never shares a source, or a neighbourhood, with training."""

import pytest

from tomopilot.prepare.split import held_slab, held_sources

SIZES = {"a": 30, "b": 10, "c": 40, "d": 20}


def test_whole_sources_until_their_share_is_held():
    for seed in range(10):
        held = held_sources(SIZES, 0.3, seed)
        assert held == held_sources(SIZES, 0.3, seed)
        assert 30 <= sum(SIZES[name] for name in held) < 30 + 40
    assert len({frozenset(held_sources(SIZES, 0.3, seed)) for seed in range(10)}) > 1


def test_one_source_is_left_to_train_on():
    assert len(held_sources(SIZES, 0.99)) == 3


def test_one_source_cannot_be_divided():
    with pytest.raises(ValueError, match=r"one source, a.*--split depth"):
        held_sources({"a": 5})


@pytest.mark.parametrize("count, gap, share", [(40, 8, 0.1), (41, 3, 0.2), (12, 0, 0.5)])
def test_a_slab_in_the_middle_with_its_gaps(count, gap, share):
    parts = held_slab(count, gap, "it", share)
    assert len(parts) == count and parts.count("held") == round(share * count)
    first, last = parts.index("held"), count - 1 - parts[::-1].index("held")
    assert parts[first - gap : first] == ["gap"] * gap == parts[last + 1 : last + 1 + gap]
    assert set(parts[: first - gap]) == {"train"} == set(parts[last + 1 + gap :])


def test_too_thin_for_a_slab():
    with pytest.raises(ValueError, match=r"it is 18 deep, .* 2 in the middle with a gap of 8"):
        held_slab(18, 8, "it")
    assert held_slab(20, 8, "it").count("train") == 2
