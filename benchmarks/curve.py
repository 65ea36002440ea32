"""The loss of a training by processor time and by views, beside a shipped prior's.

python benchmarks/curve.py runs/queue/chip-128 chip-128 docs/priors/chip-128-training.png
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from tomopilot.prior.checkpoint import prior_folders, read_card
from tomopilot.prior.train import denoising_loss, read_history


def main(folder: str, shipped: str, picture: str) -> None:
    history, card = read_history(Path(folder)), read_card(prior_folders()[shipped])
    losses = [denoising_loss(entry["validation"]) for entry in history]
    figure = Figure((9, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    axes = {"processor seconds": "seconds", "views": "images_seen"}
    for panel, (name, key) in zip(panels, axes.items(), strict=True):
        panel.plot([entry[key] for entry in history], losses, marker=".", label="from scratch, constant rate")
        panel.axhline(card["validation_loss"], color="grey", linestyle=":", label=f"{shipped} as shipped")
        panel.set(xlabel=name, yscale="log")
        panel.grid(alpha=0.3, which="both")
    panels[0].set_ylabel("validation loss")
    panels[0].legend()
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
