"""The two traces of configs/traces, drawn by seeded chance: what they are like, nobody measured.

    python -m edgeflow.bench.adapting.draw configs/traces

4g            a slow fading walk of the mean, quick fading on top, and dips of some seconds
crowded-wifi  short stretches: the air is ours, shared with a few, or nearly taken
"""

from __future__ import annotations

import math
import random
import sys
from pathlib import Path

from edgeflow.traces import Trace, written

SECONDS = 600
SEED = 8
NOTE = "made by us, not measured: python -m edgeflow.bench.adapting.draw (seed 8)"


def fading(seed: int = SEED) -> Trace:
    """4G-like: 2 to 60 Mbit/s. A walk in the logarithm that returns to 18, and a dip a minute."""
    dice = random.Random(f"4g {seed}")
    low, high, mean = math.log(2), math.log(60), math.log(18)
    slow, dip_left, rates = mean, 0, []
    for _ in range(SECONDS):
        slow += 0.02 * (mean - slow) + dice.gauss(0, 0.12)
        slow = min(high, max(low, slow))
        if dip_left == 0 and dice.random() < 1 / 60:
            dip_left = dice.randint(4, 15)
        depth = math.log(5) if dip_left else 0.0
        dip_left = max(0, dip_left - 1)
        rates.append(math.exp(min(high, max(low, slow - depth + dice.gauss(0, 0.08)))))
    return _trace(rates)


def crowded(seed: int = SEED) -> Trace:
    """Crowded Wi-Fi: 1 to 50 Mbit/s, in stretches of 1 to 20 s."""
    dice = random.Random(f"crowded-wifi {seed}")
    rates: list[float] = []
    while len(rates) < SECONDS:
        lowest, highest, longest = dice.choices(
            [(25, 50, 20), (6, 25, 12), (1, 6, 6)], weights=[4, 4, 3]
        )[0]
        level = dice.uniform(lowest, highest)
        for _ in range(dice.randint(1, longest)):
            rates.append(min(50.0, max(1.0, level * math.exp(dice.gauss(0, 0.1)))))
    return _trace(rates[:SECONDS])


def _trace(rates: list[float]) -> Trace:
    return Trace(
        tuple(float(at_s) for at_s in range(len(rates))), tuple(round(each, 1) for each in rates)
    )


DRAWN = {
    "4g": (fading, "4G-like: slow fading with dips, 2 to 60 Mbit/s, 10 minutes"),
    "crowded-wifi": (crowded, "a crowded Wi-Fi: bursts of 1 to 50 Mbit/s, 10 minutes"),
}


def main() -> None:
    """Write both into a folder."""
    folder = Path(sys.argv[1])
    for name, (drawn, about) in DRAWN.items():
        (folder / f"{name}.csv").write_text(written(drawn(), (about, NOTE)), encoding="utf-8")


if __name__ == "__main__":
    main()
