"""What the demo's live screen shows of long lines."""

from __future__ import annotations

import io

from rich.console import Console

from edgeflow.demo.show import Show
from edgeflow.demo.tally import Tally
from edgeflow.mind.snapshot import Snapshot
from edgeflow.sim.toy import TOY


def test_a_notice_that_is_longer_than_the_screen_goes_on_in_the_next_line() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, soft_wrap=True, width=60, height=40)
    with Show(console, is_live=True) as show:
        show.open()
        notice = f"job: {'word ' * 20}switched in 0.1 s"
        show.look(Snapshot("cam", "", 0, (), (), ()), [notice], Tally(TOY, {}))
    assert "0.1 s" in out.getvalue()
