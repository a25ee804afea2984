"""edgeflow without torch, also where torch is installed: in an environment that has all but it.

    site-packages of this environment ──a link to each, but torch and what stands on it──▶ bare

What the command line starts is started with `python -I`, which no variable reaches: so it takes an
environment, and not a path.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
import time
import venv
from dataclasses import replace
from pathlib import Path

import pytest

import edgeflow
from edgeflow.demo.pictures import find
from edgeflow.model.graph import Graph

TORCH = {"torch", "torchgen", "torchvision", "functorch", "pytorchcv", "efficientnet_lite_pytorch"}
NEEDS_TORCH = ("exporter", "executors.torch", "executors.kernels", "executors.eager", "bench")
"""Modules, and packages with all that is in them, that may ask for torch when imported."""
PROGRAM = Path(__file__).with_name("torchless_program.py")

IMPORTS = """
import importlib, json, pathlib, edgeflow
root = pathlib.Path(edgeflow.__file__).parent
missing = []
for path in root.rglob("*.py"):
    name = ".".join(("edgeflow", *path.relative_to(root).with_suffix("").parts))
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name.removesuffix(".__init__"))
        except ModuleNotFoundError as error:
            missing.append((name.removeprefix("edgeflow."), error.name))
print(json.dumps(missing))
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment without torch."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=True)
    here, there = sysconfig.get_path("purelib"), _packages_of(home)
    for entry in Path(here).iterdir():
        # zz-found-torch.pth shows this environment the torch of another one.
        if entry.name.split("-")[0] not in TORCH | {"zz"}:
            (there / entry.name).symlink_to(entry)
    return home / "bin" / "python"


def _packages_of(home: Path) -> Path:
    (found,) = home.glob("lib/python*/site-packages")
    return found


@pytest.fixture(scope="module")
def pictured(small: tuple[Path, Graph], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`small` with a recipe for pictures."""
    path, graph = small
    given = graph.inputs[0].name
    recipe = {"input": given, "height": 64, "width": 64, "layout": "NHWC"}
    path = tmp_path_factory.mktemp("models") / "pictured.safetensors"
    edgeflow.save(replace(graph, recipe=recipe), path)
    return path


def ask(bare: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """What a command in the environment without torch prints."""
    command = [str(bare), "-I", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_but_the_exporter_and_torchs_engine_imports_without_torch(bare: Path) -> None:
    done = ask(bare, "-c", IMPORTS)
    assert done.returncode == 0, done.stderr
    missing = json.loads(done.stdout)
    assert {library for _, library in missing} == {"torch"}, missing
    wrong = [name for name, _ in missing if not f"{name}.".startswith(_within(NEEDS_TORCH))]
    assert not wrong, wrong


def _within(packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}." for name in packages)


def test_a_camera_and_an_edge_node_share_a_network_without_torch(
    bare: Path, small: tuple[Path, Graph], tmp_path: Path
) -> None:
    done = ask(bare, PROGRAM, small[0], tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "torch": False,
        "engines": ["onnx"],
        "ran": {"cam-1": "onnx", "edge-1": "onnx"},
        "equal": True,
    }


def test_a_model_is_proved_and_run_without_torch(bare: Path, pictured: Path) -> None:
    done = ask(bare, "-m", "edgeflow", "verify", pictured, "--engine", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["engine"], report["mismatches"], report["beside"]) == ("onnx", 0, {})
    assert report["cuts"] > 0
    done = ask(
        bare, "-m", "edgeflow", "run", pictured, find("chelsea.png", "skimage", "data"), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["outputs"]


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        ("demo", "--arg size=448`, then here `edgeflow demo --model lite0.safetensors`"),
        ("demo --shelf", "--arg size=608`, then here `edgeflow demo --shelf --model lite0"),
        ("demo --model net.safetensors --size 320", "leave out --size"),
        ("demo --model net.safetensors", "cannot read the model net.safetensors"),
        ("export edgeflow.exporter.zoo:efficientnet_lite0 -o net.safetensors", "dnn[torch]'"),
        ("node start --name edge-1 --tier edge --compute cuda", "compute = cuda"),
    ],
)
def test_what_needs_torch_names_the_cure(bare: Path, words: str, cure: str) -> None:
    done = ask(bare, "-m", "edgeflow", *words.split())
    assert done.returncode in (2, 3), done.stderr
    assert cure in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_on_torch_says_that_it_is_not_there(bare: Path, pictured: Path) -> None:
    done = ask(bare, "-m", "edgeflow", "verify", pictured, "--engine", "torch")
    assert (done.returncode, "pip install 'edgeflow-dnn[torch]'" in done.stderr) == (2, True)


def test_the_demo_takes_only_models_that_classify_a_picture(
    bare: Path, small: tuple[Path, Graph]
) -> None:
    done = ask(bare, "-m", "edgeflow", "demo", "--model", small[0])
    assert (done.returncode, "has no picture recipe" in done.stderr) == (3, True), done.stderr


@pytest.mark.slow
def test_the_demo_shows_a_model_file_without_torch(
    bare: Path, pictured: Path, tmp_path: Path
) -> None:
    log = tmp_path / "demo.log"
    with log.open("wb") as out:
        command = [str(bare), "-I", "-m", "edgeflow", "demo", "--model", str(pictured)]
        demo = subprocess.Popen([*command, "--frames", "2000"], stdout=out, stderr=out)
    try:
        end_s = time.monotonic() + 60
        while " of 2000: " not in log.read_text() and time.monotonic() < end_s:
            assert demo.poll() is None, log.read_text()
            time.sleep(0.1)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 128 + signal.SIGINT
    finally:
        demo.kill()
        demo.wait()
    assert "on onnx, one thread" in log.read_text()
    assert " of 2000: " in log.read_text()
