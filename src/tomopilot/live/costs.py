"""What a live scan has spent, and when it has to end."""

from collections.abc import Sequence
from itertools import pairwise

from tomopilot.live.setup import Setup

ROUNDING = 1e-9  # of sums of costs


def spent(setup: Setup, exposed: Sequence[float]) -> dict[str, float]:
    """Dose and seconds of exposures at these angles (degrees), in this order; without any clock.

    >>> spent(Setup(columns=8, dose=2.0, exposure=1.0, speed=10.0, prior=None, posterior="tv",
    ...       policy="uniform"), [0.0, 90.0])
    {'dose': 4.0, 'seconds': 11.0}
    """
    travel = sum(abs(after - before) for before, after in pairwise(exposed))
    motion = travel / setup.speed if setup.speed else 0.0
    return {"dose": setup.dose * len(exposed), "seconds": setup.exposure * len(exposed) + motion}


def exhausted(setup: Setup, exposed: Sequence[float], following: float | None = None) -> str | None:
    """The budget of dose or time that does not allow one more exposure, or None.

    exposed: angles of all exposures (degrees), those that failed too
    following: of the one more; None: nearest by
    """
    latest = exposed[-1] if exposed else 0.0
    one_more = spent(setup, [*exposed, latest if following is None else following])
    for name, most in (("dose", setup.dose_budget), ("seconds", setup.time_budget)):
        if most is not None and one_more[name] > most * (1 + ROUNDING):
            unit = setup.dose_unit if name == "dose" else "s"
            return f"one more projection would exceed the budget of {most:g} {unit}"
    return None
