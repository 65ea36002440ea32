"""A study that was stopped goes on: what it found is kept part by part."""

from itertools import islice

import pytest

from tomopilot.bench.studies import rows_of


class Toy:
    """Two parts of two rows; `asked` lists the parts that were computed."""

    def __init__(self, broken: bool = False) -> None:
        self.broken, self.asked = broken, []

    def parts(self):
        return {"first": self.first, "second": self.second}

    def first(self):
        self.asked.append("first")
        yield from ({"value": 0.1}, {"value": float("inf"), "list": [1, None]})

    def second(self):
        self.asked.append("second")
        yield {"value": 3}
        if self.broken:
            raise MemoryError
        yield {"value": 4}


def test_finished_parts_are_not_computed_again_and_half_ones_are(tmp_path):
    whole = [row for part in Toy().parts().values() for row in part()]
    with pytest.raises(MemoryError):
        list(rows_of(Toy(broken=True), tmp_path, {"count": (3,)}))
    study = Toy()
    assert [*rows_of(study, tmp_path, {"count": (3,)})] == whole and study.asked == ["second"]
    study = Toy()
    assert [*rows_of(study, tmp_path, {"count": (3,)})] == whole and study.asked == []


def test_a_reader_that_stops_early_loses_no_finished_part(tmp_path):
    assert len([*islice(rows_of(Toy(), tmp_path, {}), 3)]) == 3
    study = Toy()
    assert len([*rows_of(study, tmp_path, {})]) == 4 and study.asked == []


def test_rows_of_another_study_are_refused(tmp_path):
    list(rows_of(Toy(), tmp_path, {"count": 3, "seed": 0}))
    with pytest.raises(ValueError, match="another seed; choose another --out"):
        list(rows_of(Toy(), tmp_path, {"count": 3, "seed": 1}))
