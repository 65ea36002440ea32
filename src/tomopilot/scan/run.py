"""A run of `simulate` or `compare` as its record knows it, so that `resume` needs nothing else."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import ConfigDict

from tomopilot.disk import typed
from tomopilot.files.archive import Archive
from tomopilot.scan.plan import Plan

FORMAT = 3  # of the record; runs of another are rejected


@dataclass(frozen=True)
class Run:
    """What was asked for, by which command of which version."""

    kind: Literal["simulate", "compare"]
    plan: Plan
    command: str
    version: str
    notices: tuple[str, ...] = ()  # said before it began
    pixel_sizes: tuple[float | None, ...] = ()  # metres, of each image where it is known

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def facts(self) -> dict[str, Any]:
        """What a summary says of it, besides the plan."""
        sizes = zip(self.plan.images, self.pixel_sizes, strict=False)
        return {
            "version": self.version,
            "command": self.command,
            "notices": list(self.notices),
            "pixel_sizes": {self.plan.label(spec): size for spec, size in sizes if size},
        }


def begin(archive: Archive, run: Run) -> None:
    """Writes into an empty record what is to be done."""
    if archive.described("run") is not None:
        raise ValueError(
            f"{archive.path.parent} already contains a run: `tomopilot resume "
            f"{archive.path.parent}`, or choose another --out"
        )
    text = json.dumps(asdict(run))
    archive.describe("run", {"format": FORMAT, "sha256": _digest(text), "run": text})


def read(archive: Archive) -> Run:
    """What is to be done; raises ValueError where it was changed, or written by another version."""
    about, place = archive.described("run"), archive.path.parent
    if about is None:
        raise ValueError(
            f"the run in {place} was stopped before it began; start it again with the same command"
        )
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        maker = about.get("version", "unknown") if isinstance(about, dict) else "unknown"
        raise ValueError(
            f"the run in {place} was started by another version of tomopilot ({maker}); resume it with that"
        )
    text = about.get("run")
    if not isinstance(text, str) or _digest(text) != about.get("sha256"):
        raise ValueError(f"the plan of the run in {place} was changed after the run started; start a new run")
    return typed(Run, text, f"the plan of the run in {place}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
