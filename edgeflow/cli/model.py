"""`edgeflow export`, `show`, `run`, `verify`: models without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from edgeflow import audit, modelfile, picture
from edgeflow.cli import screen
from edgeflow.cli.show import SHOW_HELP, Model, shape, show, summary
from edgeflow.cli.verify import VERIFY_HELP, Threads, verify
from edgeflow.draft.inputs import parse_contract
from edgeflow.encoded import mean_bytes, with_decode
from edgeflow.errors import UsageError
from edgeflow.model.graph import Array, Graph

EXPORT_HELP = """Make a model file out of an ONNX file or a torch module.

SOURCE is an ONNX file, which needs no torch; its inputs are as it declares them, a named batch is
1, and --input says sizes that it leaves open. uint8 for an input of floats puts a cast in front.

Or it is `package.module:factory` or `file.py:factory`; the factory is called with --arg and returns
a torch.nn.Module. Inputs, recipe and labels come from its card, if it has one.

  edgeflow export face.onnx -o face.safetensors --input image=float32:1x3x480x640
  edgeflow export net.py:make -o net.safetensors --arg classes=10 --input image=uint8:1x3x224x224
  edgeflow export edgeflow.exporter.zoo:efficientnet_lite0 -o lite0.safetensors --arg size=448

With --encoded the model takes JPEG and PNG files as they are, and decodes them itself. A plan may
then ship the file, a tenth of its pixels, and decode where it computes.
"""

RecipeFields = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe", help="How a picture becomes the input: input=, height=, width=, crop= …"
    ),
]
Encoded = Annotated[
    bool, typer.Option("--encoded", help="Take pictures as JPEG or PNG files, and decode them.")
]
Photo = Annotated[
    list[Path] | None,
    typer.Option(help="A picture as frames will be, for --encoded: how long is one? Repeatable."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("export", help=EXPORT_HELP)(export)
    app.command("show", help=SHOW_HELP)(show)
    app.command("run")(run)
    app.command("verify", help=VERIFY_HELP)(verify)


def export(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Where the model comes from.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The model file to write.")],
    arg: Annotated[
        list[str] | None, typer.Option(help="name=value for the factory; repeatable.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="name=dtype:1x3x224x224; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Default: the file's name.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A text file, one label a line.")] = None,
    recipe: RecipeFields = None,
    encoded: Encoded = False,
    photo: Photo = None,
    as_json: screen.Json = False,
) -> None:
    """Make a model file; see EXPORT_HELP."""
    fields = _pairs(recipe) or None
    if fields is not None:
        picture.read_recipe(fields)
    screen.note(f"exporting {source} …")
    told = {"name": name or output.stem, "recipe": fields, "labels": _labels(labels)}
    make = _from_onnx if source.lower().endswith(".onnx") else _from_torch
    graph = make(source, _pairs(arg), inputs or (), told)
    if encoded or photo:
        graph = with_decode(graph, mean_bytes(photo) if photo else None)
    digest = modelfile.save(graph, output)
    size = output.stat().st_size
    if as_json:
        screen.emit_json({**summary(graph, digest), "path": str(output), "file_bytes": size})
        return
    screen.say(
        f"{output}: {len(graph.layers)} layers, {len(graph.cuts)} places to cut, "
        f"{size / 1e6:.1f} MB, model {digest[:12]}"
    )


def run(
    model: Model,
    file: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, .npy or .npz.")],
    placement: Annotated[
        str | None, typer.Option(help="`a..b @one | c..d @two`: split so, through the wire.")
    ] = None,
    threads: Threads = 1,
    top: Annotated[int, typer.Option(min=1, help="How many labels to print.")] = 3,
    as_json: screen.Json = False,
) -> None:
    """Answer one input in this process, whole or split as a placement says."""
    graph = modelfile.load(model)
    outputs = audit.run(graph, _read_input(graph, file), placement, threads=threads)
    best = {name: _best(graph, array, top) for name, array in outputs.items()}
    if as_json:
        shapes = {name: list(array.shape) for name, array in outputs.items()}
        screen.emit_json({"outputs": shapes, "best": best})
        return
    for name, array in outputs.items():
        screen.say(f"{name}: {array.dtype} {shape(array.shape)}")
        for line in best[name]:
            screen.say(f"  {line['score']:.4f} {line['label']}")


def _from_torch(
    source: str, arg: Mapping[str, Any], inputs: Sequence[str], told: Mapping[str, Any]
) -> Graph:
    exporter = _engine("exporter", "torch")
    module = exporter.load_source(source, arg)
    examples = dict(exporter.parse_input(text) for text in inputs) or None
    graph: Graph = exporter.export(module, examples, **told)
    return graph


def _from_onnx(
    source: str, arg: Mapping[str, Any], inputs: Sequence[str], told: Mapping[str, Any]
) -> Graph:
    if arg:
        raise UsageError(f"--arg {next(iter(arg))}: an ONNX file takes no arguments; --input does")
    contracts = [parse_contract(text) for text in inputs]
    graph: Graph = _engine("importer", "onnx").import_onnx(source, inputs=contracts, **told)
    return graph


def _engine(module: str, library: str) -> Any:
    try:
        return import_module(f"edgeflow.{module}")
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        cure = f"pip install 'edgeflow-dnn[{library}]'"
        raise UsageError(f"this export needs {library}: {cure}") from error


def _pairs(texts: list[str] | None) -> dict[str, Any]:
    """`name=value` as a dict; numbers and true, false, none become what they say."""
    found: dict[str, Any] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{text!r} is not of the form name=value")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _labels(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the labels {path}: {error}") from None


def _read_input(graph: Graph, path: Path) -> Mapping[str, Array] | Array:
    if path.suffix not in (".npy", ".npz"):
        return picture.inputs_of(graph, path)
    try:
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else dict(found)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the arrays {path}: {error}") from None


def _best(graph: Graph, array: Array, top: int) -> list[dict[str, Any]]:
    """The largest numbers of an output that has one for each label."""
    flat = array.reshape(-1)
    if not graph.labels or len(flat) != len(graph.labels):
        return []
    order = np.argsort(flat)[::-1][:top]
    return [{"label": graph.labels[at], "score": float(flat[at])} for at in order]
