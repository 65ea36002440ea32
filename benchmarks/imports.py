"""The picture of the rooms in docs/decisions.md: who imports whom, and lines of code.

    PYTHONPATH=tests python benchmarks/imports.py docs/imports.png

Arrows that others imply are left out, and so are the small rooms that import nothing of ours.
"""

import sys
from collections import defaultdict
from functools import cache

import matplotlib
from test_architecture import ROOT, SOURCES, imports

matplotlib.use("agg")
import matplotlib.pyplot as plt

SMALL = {"__init__", "__main__", "randomness", "units", "metrics", "disk", "testing"}
COLUMNS = {
    "cli": 0.6, "beamline": -0.5, "bench": 0.6, "live": -0.5, "report": 0.6, "scan": 0, "experiment": -1,
    "raw": 0.6, "prepare": 1.6, "design": -1.5, "posterior": -0.6, "files": 1, "records": -1.2,
    "prior": 0, "simulate": 1,
    "measure": -1.2, "nets": 0,
}  # fmt: skip

lines: dict[str, int] = defaultdict(int)
edges: dict[str, set[str]] = defaultdict(set)
for source in SOURCES:
    room = source.relative_to(ROOT).parts[0].removesuffix(".py")
    if room not in SMALL:
        lines[room] += len(source.read_text().splitlines())
        edges[room] |= imports(source) - SMALL - {room}


@cache
def below(room: str) -> frozenset[str]:
    """All that a room imports, by way of others too."""
    return frozenset(edges[room]).union(*map(below, edges[room]))


@cache
def level(room: str) -> int:
    return 1 + max(map(level, edges[room]), default=-1)


figure, axes = plt.subplots(figsize=(7, 6.5))
boxes = {
    room: axes.text(
        COLUMNS[room], level(room), f"{room}\n{lines[room]}", ha="center", va="center",
        bbox={"boxstyle": "round", "fc": "white"},
    )
    for room in lines
}  # fmt: skip
figure.canvas.draw()
for room, box in boxes.items():
    for other in edges[room].difference(*map(below, edges[room])):
        ends = {"patchA": box.get_bbox_patch(), "patchB": boxes[other].get_bbox_patch()}
        arrow = {"arrowstyle": "-|>", "color": "0.4", "shrinkA": 0, "shrinkB": 0, **ends}
        axes.annotate(
            "", boxes[other].get_position(), box.get_position(), arrowprops=arrow, va="center", ha="center"
        )
across = [min(COLUMNS.values()) - 0.5, max(COLUMNS.values()) + 0.5]
axes.set(xlim=across, ylim=(-0.5, max(map(level, lines)) + 0.5))
axes.axis("off")
figure.tight_layout()
figure.savefig(sys.argv[1], dpi=100)
print(f"{sum(lines.values())} lines; the largest room is {max(lines, key=lambda room: lines[room])}")
