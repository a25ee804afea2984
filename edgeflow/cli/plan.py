"""`edgeflow plan MODEL`: what the planner would do, on paper or in the cluster as it is now.

cluster file, lab file, live cluster ─▶ scene ─▶ --set ─▶ algorithms side by side, why this cut
                                                  └─ --sweep ─▶ where the plan changes ─▶ --html
"""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edgeflow import modelfile
from edgeflow.cli import client, options, screen
from edgeflow.cli.deploy import PRIVATE_HELP, TILES_HELP, only_device
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.client.flow import Flow
from edgeflow.costmodel.cost import Cluster
from edgeflow.errors import UsageError
from edgeflow.executors import engines
from edgeflow.io import clusterfile
from edgeflow.io.calibrate import calibrate
from edgeflow.io.settings import read_toml
from edgeflow.lab import labfile, sketch
from edgeflow.layout.placement import format_placement, parse_placement
from edgeflow.model import manifest
from edgeflow.planning import ALGORITHMS, OBJECTIVES, Goal
from edgeflow.planning.brute import LAYERS_MAX
from edgeflow.policy.survey import LINK_PRIOR, survey
from edgeflow.views import page, plandata, plantable, plantiles
from edgeflow.whatif.findings import BY_HAND, Findings, Question, find
from edgeflow.whatif.scene import Scene

HELP = """Ask the planner what it would do, without doing it.

MODEL is a file of `edgeflow export`. The cluster is a file (configs/clusters/, configs/labs/) or
`live`: the nodes and links of the running cluster as they are known now. --set changes a number,
--sweep runs one from low to high and says where the best plan changes.

  edgeflow plan model.safetensors --cluster configs/clusters/camera-4g.toml
  edgeflow plan model.safetensors --cluster live --set edge:cloud.mbps=4
  edgeflow plan … --sweep uplink.mbps=0.5:100 --html plan.html
  edgeflow plan … --placement 'conv1..pool2 @a[0:28] b[28:56] | fc @c'     a plan by hand, beside

--objective, --latency-ms-max and --private are those of `edgeflow deploy`.
LINK.mbps (up_mbps, down_mbps), LINK.delay_ms, NODE.ratio, NODE.memory_gb can be set; a link goes by
its name or its ends (edge:cloud), a node by its name or its tier. What comes from a file is on
paper, not measured. Where layers are tiled over several nodes each map is drawn; --no-tiles plans
without. Exit code 5: no plan is possible.
"""
LIVE = "live"
ALL = "all"
TABLE_WIDTH = 200
"""Plans are never cut off: a narrow terminal wraps its lines."""
LIVE_S = 6.0
"""How long to wait for a heartbeat with links of every node."""

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="uplink.mbps=4; repeatable."),
]
Swept = Annotated[str, typer.Option("--sweep", metavar="NAME=LOW:HIGH", help="uplink.mbps=0.5:100")]
ClusterName = Annotated[str, typer.Option(envvar="EDGEFLOW_CLUSTER", help="Of the live cluster.")]


def register(app: typer.Typer) -> None:
    """Adds `plan`."""
    app.command("plan", help=HELP)(plan)


def plan(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A file of `edgeflow export`.")],
    cluster: Annotated[str, typer.Option(metavar="FILE|live", help="Where it would run.")],
    algorithm: Annotated[str, typer.Option(help="One of them, or all side by side.")] = ALL,
    sets: Sets = None,
    swept: Swept = "",
    source: Annotated[str, typer.Option(help="Where frames enter. Default: the file's.")] = "",
    objective: Annotated[str, typer.Option(help=", ".join(OBJECTIVES))] = "latency",
    latency_ms_max: Annotated[float, typer.Option(help="Plans take no longer; 0: any.")] = 0.0,
    private: Annotated[str, typer.Option(metavar="[LAYER@]TIER", help=PRIVATE_HELP)] = "",
    placement: Annotated[str, typer.Option(help="A plan by hand, beside the others.")] = "",
    tiles: Annotated[bool, typer.Option("--tiles/--no-tiles", help=TILES_HELP)] = True,
    html: Annotated[Path | None, typer.Option(help="Write all of it as a page.")] = None,
    broker: Broker = DEFAULT_BROKER,
    cluster_name: ClusterName = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See HELP."""
    wanted, goal = span(swept) if swept else None, goal_of(objective, latency_ms_max, private)
    text, _ = modelfile.index(options.existing(model, "model file"))
    graph = manifest.decode(text)
    if cluster == LIVE:
        with client.joined(broker, cluster_name, key, insecure) as flow:
            scene = live(flow, manifest.digest(text), source)
    else:
        scene = from_file(Path(cluster), source)
    for each in sets or ():
        scene = scene.changed(*assigned(each, "--set"))
    names = algorithms(algorithm, len(graph.layers))
    layout = parse_placement(graph, placement) if placement else None
    names = (BY_HAND, *names) if layout else names
    asked = Question(graph, names, time.perf_counter, goal, layout, tiles)
    found = find(asked, scene, wanted)
    if html is not None:
        html.write_text(page.page(found), encoding="utf-8")
        screen.note(f"{html}: written")
    if as_json:
        screen.emit_json({**plandata.as_data(found), "set": list(sets or ())})
    else:
        show(found)


def goal_of(objective: str, latency_ms_max: float, private: str) -> Goal:
    """What the plans are to be good at, and what they must keep."""
    if objective not in OBJECTIVES:
        raise UsageError(f"--objective {objective}: there is {', '.join(OBJECTIVES)}")
    if not latency_ms_max >= 0:
        raise UsageError(f"--latency-ms-max {latency_ms_max:g}: give milliseconds above 0")
    return Goal(objective, latency_ms_max / 1e3 or math.inf, private)


def from_file(path: Path, source: str) -> Scene:
    """The scene of a cluster file, or of a lab file: those have `cpu` at their nodes."""
    table = read_toml(path)
    nodes = table.get("nodes")
    tables = nodes.values() if isinstance(nodes, dict) else ()
    if any(isinstance(node, dict) and "cpu" in node for node in tables):
        lab = labfile.convert(table, str(path))
        screen.note("calibrating this machine …")
        rates = partial(calibrate, device="cpu", engines=engines())
        scene = sketch.sketch(lab, source, str(path), rates)
    else:
        scene = clusterfile.convert(table, path, source)
    return scene.entered_at(source) if source else scene


def live(flow: Flow, digest: str, source: str) -> Scene:
    """The running cluster, as a leader would see it now."""
    snapshot = client.settled(flow, source)
    names = {node.name for node in client.others_of(snapshot)}
    source = source or only_device(snapshot)
    until_s = time.monotonic() + LIVE_S
    while True:
        seen = flow.ask(
            lambda core: survey(core.parts.membership, source, digest, time.monotonic())
        )
        nodes = {name: node for name, node in seen.nodes.items() if name in names}
        links = {pair: link for pair, link in seen.links.items() if set(pair) <= names}
        linked = {name for pair in links for name in pair}
        if nodes.keys() <= linked or time.monotonic() > until_s:
            break
        time.sleep(client.POLL_S)
    guessed = sum(link == LINK_PRIOR for link in links.values())
    basis = f"live estimates; {snapshot.leader or 'nobody'} leads"
    if guessed:
        mbps = LINK_PRIOR.bytes_per_s * 8e-6
        basis += f"; {guessed} of {len(links)} links not measured yet: {mbps:g} Mbit/s assumed"
    made = Scene.of(Cluster(nodes, links, source), LIVE, "the cluster as it is now", basis)
    return made.entered_at(source)


def algorithms(text: str, layers: int) -> tuple[str, ...]:
    """One, or all that a graph of so many layers is not too large for."""
    if text == ALL:
        return tuple(name for name in ALGORITHMS if name != "brute" or layers <= LAYERS_MAX)
    if text not in ALGORITHMS:
        raise UsageError(f"--algorithm {text}: there is {', '.join(ALGORITHMS)}, or {ALL}")
    return (text,)


def assigned(text: str, option: str) -> tuple[str, float]:
    """`name=value`."""
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        raise UsageError(f"{option} {text}: write NAME=NUMBER, as in uplink.mbps=4") from None


def span(text: str) -> tuple[str, tuple[float, float]]:
    """`name=low:high`."""
    name, _, ends = text.partition("=")
    low, _, high = ends.partition(":")
    (_, first), (_, last) = (
        assigned(f"{name}={low}", "--sweep"),
        assigned(f"{name}={high}", "--sweep"),
    )
    if not 0 < first < last < float("inf"):
        raise UsageError(f"--sweep {text}: write NAME=LOW:HIGH with 0 < LOW < HIGH")
    return name.strip(), (first, last)


# --- for people ----------------------------------------------------------------------------------


def show(found: Findings) -> None:
    """Tables and lines."""
    graph, scene, best = found.asked.graph, found.scene, found.best
    console = screen.out()
    console.width = max(console.width, TABLE_WIDTH)
    screen.say(f"{graph.name}, {len(graph.layers)} layers, on {scene.name}: {scene.about}")
    screen.say(f"{scene.basis}; frames enter at {scene.source}")
    if told := estimates(scene):
        screen.say(f"estimated, without a public source: {told}")
    screen.say("")
    console.print(plantable.answers_table(found))
    for each in found.answers:
        line = format_placement(graph, each.proposal.placement) if each.proposal else each.refusal
        screen.say(f"  {each.algorithm}: {line}")
    plantiles.show(console, found)
    if best.proposal and found.beside:
        screen.say(f"\nwhy this cut: {best.proposal.reason}")
        console.print(plantable.beside_table(found))
    if found.sweep:
        screen.say(f"\n{found.sweep.name}: {how_often(len(found.sweep.stretches) - 1)}")
        console.print(plantable.stretches_table(found))


def how_often(changes: int) -> str:
    """The best plan changes so many times."""
    said = {0: "the best plan stays the same", 1: "the best plan changes once"}
    return said.get(changes, f"the best plan changes {changes} times")


def estimates(scene: Scene) -> str:
    """Figures that are nobody's, by profile."""
    found: dict[str, list[str]] = {}
    for cited in scene.cited:
        if cited.is_estimate:
            profile, _, figure = cited.what.partition(" ")
            found.setdefault(profile, []).append(figure)
    return "; ".join(f"{profile} {', '.join(figures)}" for profile, figures in found.items())
