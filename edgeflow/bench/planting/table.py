"""All planted bugs."""

from __future__ import annotations

from edgeflow.bench.planting.control import CONTROL
from edgeflow.bench.planting.frames import FRAMES

MUTANTS = {**CONTROL, **FRAMES}
