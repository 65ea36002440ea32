"""Where numbers come from, and where they may go."""

import platform
import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """What was typed."""
    return shlex.join(["tomopilot", *sys.argv[1:]])


def hardware(device: str) -> str:
    """What a prior was trained on."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def writable(out: Path) -> None:
    """Makes the folder; raises where nothing can be written to it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"cannot write to the output folder {out} ({error}); choose another --out") from None
