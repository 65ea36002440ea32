"""A scan of a real instrument: it suggests, is told, survives every fault, and is never late."""

import hashlib
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import torch

from tomopilot.disk import sweep, write_atomically
from tomopilot.experiment import Snapshot, Undrawn
from tomopilot.files.logbook import Event, Logbook, Wish
from tomopilot.records import Decision, Draws
from tomopilot.scan.costs import Costs
from tomopilot.scan.detector import Detector, Fields, Unusable
from tomopilot.scan.lock import locked
from tomopilot.scan.recorded import Recorded, fold, unfold
from tomopilot.scan.setup import Setup
