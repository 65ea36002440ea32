"""An autopilot for tomographic acquisition: it chooses the next measurement while the scan runs.

The public names, in reading order, are in `__init__.pyi`; each is imported when it is first used, so that
the command line answers at once.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
