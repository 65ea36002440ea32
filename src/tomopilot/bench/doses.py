"""Dose against computing: what each method of a comparison measures, and computes, to the same quality."""

from collections.abc import Sequence

from tomopilot.bench.protocol import Run, Runs
from tomopilot.report import panels
from tomopilot.scan.summary import TARGET, reaches


def dose(runs: Runs) -> dict[str, bytes]:
    """A picture of them, a panel for each comparison."""
    return {"dose.png": panels.spent({heading(run): (run.methods, costs(run)) for run in runs.values()})}


def table_of_doses(runs: Runs) -> dict[str, Sequence[str]]:
    """The same in numbers."""
    names = list(dict.fromkeys(name for run in runs.values() for name in run.methods))
    found: dict[str, Sequence[str]] = {"method": names}
    for run in runs.values():
        own = costs(run)
        cells = (f"{own[name][0]:.1f}, {own[name][1]:.0f} s" if name in own else "-" for name in names)
        found[heading(run)] = [*cells]
    return found


def heading(run: Run) -> str:
    return f"{run.panel.title}, to {common(run):.1f} dB"


def common(run: Run) -> float:
    """The mean PSNR that all methods reach, 30 dB at most."""
    best = (max(point["psnr_mean"] for point in method["curve"].values()) for method in run.methods.values())
    return min(TARGET, *best)


def costs(run: Run) -> dict[str, tuple[float, float]]:
    """Of each method, the measurements to that PSNR, and the seconds of choosing them and of one estimate."""
    found, target = {}, common(run)
    for name, method in run.methods.items():
        if (needed := reaches(method["curve"], target)) is not None:
            choosing = (method["seconds_per_step"] or 0.0) if method["adaptive"] else 0.0
            found[name] = needed, needed * choosing + (method["estimate_seconds"] or 0.0)
    return found
