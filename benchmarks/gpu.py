"""What minutes of a GPU are for: blocks of under ten minutes each, which can be repeated.

python benchmarks/gpu.py BLOCK... --out DIR [--data DIR] [--device cuda] [--dry]

`train` and `finish` make chip-128 by its recipe (millions of views on a GPU), `fit` writes into its card how
far its samples can be believed, `tables` compares on thirty slices, `speed` times choices and estimates up to
1024 x 1024. A block that was done is not done again; an interrupted `train` goes on. `--dry` runs everything
with the least work, on any machine, to see that the commands are right. DIR/chip-128/final, the prior, is
13 MB.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tomopilot.prior.train import read_clock

BLOCKS = ("train", "finish", "fit", "tables", "speed")
HOURS = 0.12  # of each call of `train`, so that three of them and `finish` fit into half an hour
ROOT = Path(__file__).parents[1]


def commands(block: str, out: Path, data: Path, dry: bool) -> Iterator[list[str]]:
    """The tomopilot commands of a block."""
    trained, prior, chip = out / "chip-128", out / "chip-128" / "final", data / "chip"
    held = chip / "validation.npz"
    train = ["train", chip / "train.npz", chip / "train_512.npz", "--validation", held, "--out", trained]
    train += ["--recipe", ROOT / "recipes/chip-128.toml"]
    some = "0,60" if dry else ",".join(str(i) for i in range(0, 300, 10))
    fitted = "304,320" if dry else ",".join(str(i) for i in range(304, 600, 12))
    count, at = ("2", "2,3") if dry else ("10", "5,10,15,20,30,40")
    if block == "train":
        hours = (read_clock(trained) + (1e-4 if dry else HOURS * 3600)) / 3600
        resume = ["--resume"] if (trained / "state.safetensors").is_file() else []
        yield [*train, "--hours", f"{hours:.9f}", *resume]
    elif block == "finish":
        yield [*train, "--finish"]
    elif block == "fit":
        yield ["bench", "calibration", f"{held}::{fitted}", "--prior", prior, "--count", count, "--at", at,
               "--posteriors", "moments", "--into", prior, "--out", out / block]  # fmt: skip
    elif block == "tables":
        yield ["compare", f"{held}::{some}", "--prior", prior, "--posteriors", "auto,soft", "--at", at,
               "--policies", "variance,uniform", "--count", count, "--budget", at.rpartition(",")[2],
               "--start", "1", "--out", out / block]  # fmt: skip
    else:
        size = "--quick" if dry else "--large"
        yield ["bench", "speed", "--prior", prior, "--count", count, size, "--out", out / block]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("blocks", nargs="+", choices=BLOCKS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dry", action="store_true")
    chosen = parser.parse_args()
    for block in chosen.blocks:
        done = chosen.out / f"{block}.done"
        if done.exists() and block != "train":
            print(f"{block}: done before")
            continue
        if block not in ("train", "finish") and (chosen.out / block).exists():
            shutil.rmtree(chosen.out / block)  # of an interrupted call; these blocks start anew
        for words in commands(block, chosen.out, chosen.data, chosen.dry):
            line = [sys.executable, "-m", "tomopilot", *map(str, words), "--device", chosen.device]
            print(" ".join(line), flush=True)
            subprocess.run(line, check=True)
        done.touch()


if __name__ == "__main__":
    main()
