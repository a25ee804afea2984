"""`edgeflow deploy` and `undeploy`: say what is wanted; the cluster sees to it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Meta, Struct

from edgeflow.api import Flow
from edgeflow.cli import client, options, screen
from edgeflow.cli.options import DEFAULT_BROKER, Broker, Cluster, Insecure, Key
from edgeflow.cli.screen import Json
from edgeflow.errors import DeployError, UsageError
from edgeflow.io import settings
from edgeflow.mind.snapshot import Snapshot
from edgeflow.policy import POLICIES

DEPLOY_HELP = """Have the cluster run a model.

MODEL is a file of `edgeflow export`. Frames enter at --source; without it, at the only device there
is. The leader plans, every node that takes part fetches its weights, and then the source takes
frames. Deploying again under the same name changes what is different and nothing else.

The plan is the one that answers a frame soonest; --objective throughput asks for the most frames a
second, traffic for the fewest bytes to and from the highest tier. --private keeps the input, or all
that is made before a layer's output, on a tier and those below.

--policy says how the plan follows bandwidth and load. mincut, the default, plans anew with what was
learned and switches where that is worth it. hpa decides again only on what changed. partnner and
profile-first know no costs: they try cuts between the source and one server on your frames, a few
that are cleverly chosen, or every one before they settle. static plans once. `edgeflow why NAME`
tells what came of it.

  edgeflow deploy model.safetensors --source cam-1
  edgeflow deploy -f deployments.toml       # the same, written down; may be repeated

  # deployments.toml
  [[deployment]]
  name = "pictures"
  model = "model.safetensors"               # beside this file
  source = "cam-1"
"""


POLICY_HELP = (
    "How the plan follows what changes: mincut, hpa, partnner, profile-first, static; or a planner"
    " to plan anew with: neurosurgeon, dads, edge-only …"
)
RATE_HELP = "Frames a second to keep up with; 0: not said."
FALLBACKS_HELP = (
    "Is what stands in for a lost node prepared beforehand, and what is likely to be the next plan?"
    " Both take memory."
)
EXPLORE_HELP = "Share of all latency that spare frames along doubtful ways may add; 0: none."
TILES_HELP = "May layers be computed in tiles by several nodes of a tier at once?"
PRIVATE_HELP = "What stays on a tier or below: the input, or all before LAYER's output."


class Wish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One deployment as the user writes it down."""

    model: str
    name: str = ""
    """Empty: the model's name."""
    source: str = ""
    """Empty: the only device."""
    policy: str = "mincut"
    placement: str = ""
    window_frames: Annotated[int, Meta(ge=1, le=1024)] = 4
    window_bytes: Annotated[int, Meta(ge=1)] = 64 << 20
    deadline_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    objective: str = "latency"
    latency_s_max: Annotated[float, Meta(ge=0, le=3600)] = 0.0
    """What a plan may take at most; 0: no limit."""
    private: str = ""
    """`[LAYER@]TIER`."""
    tiles: bool = True
    """May layers be tiled over several nodes of a tier?"""
    rate_fps: Annotated[float, Meta(ge=0)] = 0.0
    """Frames a second to keep up with; 0: not said."""
    fallbacks: bool = True
    """Are variants prepared for the loss of each node, and likely next plans?"""
    explore_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.02
    """Of all latency, what frames along doubtful ways may add."""

    def choices(self) -> dict[str, Any]:
        """All but where: what `Flow.deploy` and a spec call by the same names."""
        return {name: getattr(self, name) for name in CHOICES}


CHOICES = (
    "policy",
    "placement",
    "window_frames",
    "window_bytes",
    "deadline_s",
    "objective",
    "latency_s_max",
    "private",
    "tiles",
    "fallbacks",
    "rate_fps",
    "explore_share",
)


def register(app: typer.Typer) -> None:
    """Adds `deploy` and `undeploy`."""
    app.command("deploy", help=DEPLOY_HELP)(deploy)
    app.command("undeploy")(undeploy)


def deploy(
    model: Annotated[Path | None, typer.Argument(metavar="[MODEL]", help="The file.")] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Wishes as TOML.")] = None,
    name: Annotated[str, typer.Option(help="Default: the model's name.")] = "",
    source: Annotated[str, typer.Option(help="The node where frames enter.")] = "",
    policy: Annotated[str, typer.Option(help=POLICY_HELP)] = "mincut",
    rate_fps: Annotated[float, typer.Option(min=0.0, help=RATE_HELP)] = 0.0,
    placement: Annotated[str, typer.Option(help="A plan by hand: 'conv1..pool2 @a | fc @b'.")] = "",
    window: Annotated[
        int, typer.Option(min=1, help="Frames under way at once; partnner, profile-first: one.")
    ] = 4,
    deadline_s: Annotated[float, typer.Option(help="Default deadline of a frame.")] = 30.0,
    objective: Annotated[str, typer.Option(help="latency, throughput or traffic.")] = "latency",
    latency_ms_max: Annotated[float, typer.Option(help="Plans take no longer; 0: any.")] = 0.0,
    private: Annotated[str, typer.Option(metavar="[LAYER@]TIER", help=PRIVATE_HELP)] = "",
    tiles: Annotated[bool, typer.Option("--tiles/--no-tiles", help=TILES_HELP)] = True,
    fallbacks: Annotated[
        bool, typer.Option("--fallbacks/--no-fallbacks", help=FALLBACKS_HELP)
    ] = True,
    explore: Annotated[float, typer.Option(min=0.0, max=0.5, help=EXPLORE_HELP)] = 0.02,
    wait_s: Annotated[float, typer.Option(help="How long to wait until it is ready.")] = 60.0,
    wait: Annotated[bool, typer.Option(help="Wait until frames are taken.")] = True,
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """See DEPLOY_HELP."""
    if (model is None) == (file is None):
        raise UsageError("give a MODEL file, or -f FILE with wishes; edgeflow deploy --help")
    if model is not None:
        wish = Wish(
            model=str(options.existing(model, "model file")),
            name=name,
            source=source,
            policy=check_policy(policy),
            rate_fps=rate_fps,
            placement=placement,
            window_frames=window,
            deadline_s=deadline_s,
            objective=objective,
            latency_s_max=latency_ms_max / 1e3,
            private=private,
            tiles=tiles,
            fallbacks=fallbacks,
            explore_share=explore,
        )
        wishes = [wish]
    else:
        assert file is not None
        wishes = read_wishes(file)
    with client.joined(broker, cluster, key, insecure) as flow:
        snapshot = client.settled(flow)
        done = [carry_out(flow, each, snapshot, wait_s if wait else None) for each in wishes]
        if as_json:
            screen.emit_json({"deployments": done})


def check_policy(name: str) -> str:
    """Of that name; UsageError where there is none."""
    if name not in POLICIES:
        raise UsageError(f"no policy {name!r}: choose of {', '.join(POLICIES)}")
    return name


def read_wishes(path: Path) -> list[Wish]:
    """The wishes in a file; UsageError names file, key and cure."""
    table = settings.read_toml(path)
    entries = table.pop("deployment", None)
    if not isinstance(entries, list) or not entries or table:
        extra = f"; unknown: {', '.join(table)}" if table else ""
        raise UsageError(f"{path}: write [[deployment]] tables with model, name, source …{extra}")
    wishes = []
    for number, entry in enumerate(entries, 1):
        try:
            wish = msgspec.convert(entry, Wish)
            check_policy(wish.policy)
        except (msgspec.ValidationError, UsageError) as error:
            raise UsageError(f"{path}: deployment {number}: {error}") from None
        place = options.existing(path.parent / Path(wish.model).expanduser(), "model file")
        wishes.append(msgspec.structs.replace(wish, model=str(place)))
    return wishes


def carry_out(flow: Flow, wish: Wish, snapshot: Snapshot, wait_s: float | None) -> dict[str, Any]:
    """Deploy where something differs from what is wanted already; wait until it is ready."""
    source = wish.source or only_device(snapshot)
    if source not in {node.name for node in client.others_of(snapshot)}:
        here = ", ".join(node.name for node in client.others_of(snapshot)) or "nobody"
        raise DeployError(f"the source {source} is not in this cluster; here is {here}")
    digest, graph = flow.service.add_model(Path(wish.model))
    name = wish.name or graph.name
    if _is_wanted(flow, name, digest, source, wish):
        screen.note(f"{name}: as wanted already")
        changed = False
    else:
        changed = True
        flow.deploy(
            wish.model,
            name=name,
            source=source,
            wait_s=None,
            **wish.choices(),
        )
    if wait_s is not None:
        follow(flow, name, wait_s)
    view = client.deployment_named(flow, name)
    if wait_s is not None:
        screen.note(f"{name}: {view.placement}")
    return {"name": name, "model": digest, "changed": changed, **msgspec.to_builtins(view)}


def _is_wanted(flow: Flow, name: str, digest: str, source: str, wish: Wish) -> bool:
    spec = flow.ask(lambda core: getattr(core.parts.deployments.views.get(name), "spec", None))
    if spec is None or spec.removed:
        return False
    theirs = {name: getattr(spec, name) for name in CHOICES}
    return (digest, source, wish.choices()) == (spec.model, spec.source, theirs)


def only_device(snapshot: Snapshot) -> str:
    """The one device of the cluster; UsageError where that is no answer."""
    devices = [node.name for node in client.others_of(snapshot) if node.tier == "device"]
    if len(devices) != 1:
        there = ", ".join(node.name for node in client.others_of(snapshot)) or "no node at all"
        raise UsageError(f"say where frames enter: --source NODE; there is {there}")
    return devices[0]


def follow(flow: Flow, name: str, wait_s: float) -> None:
    """Wait until it is ready, telling what it waits for; DeployError where it never is."""
    said = ""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(flow.wait, name, wait_s)
        while True:
            try:
                waiting.result(0.25)
                return
            except NotYet:
                view = next((v for v in flow.snapshot().deployments if v.name == name), None)
                line = f"{name}: {view.phase}: {view.sentence}" if view else f"{name}: wanted"
                if line != said:
                    screen.note(line)
                said = line


def undeploy(
    name: Annotated[str, typer.Argument(help="The deployment.")],
    broker: Broker = DEFAULT_BROKER,
    cluster: Cluster = "home",
    key: Key = "",
    insecure: Insecure = False,
    as_json: Json = False,
) -> None:
    """Remove a deployment; frames without an outcome end with the error `removed`."""
    with client.joined(broker, cluster, key, insecure) as flow:
        client.deployment_named(flow, name)
        flow.undeploy(name)
        # The wish leaves with the next turn of the loop; the retained topic keeps it.
        flow.request(flow.name, "ping")
    if as_json:
        screen.emit_json({"name": name, "removed": True})
    else:
        screen.say(f"{name}: removed")
