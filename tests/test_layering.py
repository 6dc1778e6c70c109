"""jobs -> orchestration -> {models, search_spaces}, and what each of them may touch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = {"models", "search_spaces", "orchestration", "jobs"}

# Third-party packages, then packages of our own, that each layer may import.
MAY_IMPORT = {
    "models": ({"torch", "diffusers", "numpy", "scipy"}, {"models"}),
    "search_spaces": ({"numpy", "nevergrad"}, {"search_spaces"}),
    "orchestration": (None, {"models", "search_spaces", "orchestration"}),
    "jobs": (None, OURS),
}
ONLY_IN = {
    "mlflow": {"orchestration/tracking.py"},
    "nevergrad": {
        f"search_spaces/{name}.py"
        for name in ("candidates", "evolution", "parametrization", "strategies")
    },
}
# What touches files, the network, processes or the terminal: not for the pure layers.
WORLD = {
    "argparse", "asyncio", "fcntl", "glob", "http", "importlib", "io", "logging", "os", "pathlib",
    "multiprocessing", "pickle", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys",
    "tempfile", "urllib",
}  # fmt: skip
PURE = {"models", "search_spaces"}


def imports(tree: ast.AST) -> set[str]:
    """Top-level packages that a module imports by a statement, wherever in it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            found.add(node.module.partition(".")[0])
    return found


def calls(tree: ast.AST) -> set[str]:
    """Names of the functions that a module calls by a bare name."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {node.func.id for node in nodes if isinstance(node.func, ast.Name)}


def may_import(path: str, package: str) -> bool:
    """Whether the file at `path` (relative to the root) may import a top-level package."""
    layer = path.partition("/")[0]
    third_party, ours = MAY_IMPORT[layer]
    if package in OURS:
        return package in ours
    if package in sys.stdlib_module_names:
        return layer not in PURE or package not in WORLD
    if package in ONLY_IN:
        return path in ONLY_IN[package]
    return third_party is None or package in third_party


def breaches(path: str, source: str) -> list[str]:
    """What the file at `path` does that its layer may not."""
    tree = ast.parse(source)
    forbidden = {"exec", "eval"}
    if path.partition("/")[0] in PURE:
        forbidden |= {"print", "open", "input"}
    imported = [f"imports {name}" for name in sorted(imports(tree)) if not may_import(path, name)]
    return imported + [f"calls {name}" for name in sorted(calls(tree) & forbidden)]


FILES = sorted(
    path.relative_to(ROOT).as_posix() for layer in OURS for path in ROOT.glob(f"{layer}/**/*.py")
)


@pytest.mark.parametrize("path", FILES)
def test_each_file_keeps_to_its_layer(path):
    assert breaches(path, (ROOT / path).read_text()) == []


@pytest.mark.parametrize(
    ("path", "source", "breach"),
    [
        ("models/a.py", "import ray.data", "imports ray"),
        ("models/a.py", "def f():\n    from mlflow import log_metric", "imports mlflow"),
        ("models/a.py", "from search_spaces.schedule import X", "imports search_spaces"),
        ("models/a.py", "from orchestration import files", "imports orchestration"),
        ("models/a.py", "from pathlib import Path", "imports pathlib"),
        ("models/a.py", "print(1)", "calls print"),
        ("models/a.py", "import importlib", "imports importlib"),
        ("search_spaces/a.py", "import torch.nn", "imports torch"),
        ("search_spaces/a.py", "import models.noise", "imports models"),
        ("search_spaces/a.py", "import nevergrad as ng", "imports nevergrad"),
        ("orchestration/a.py", "import mlflow", "imports mlflow"),
        ("orchestration/a.py", "from jobs import cli", "imports jobs"),
        ("orchestration/a.py", "import nevergrad", "imports nevergrad"),
        ("orchestration/a.py", "eval('1')", "calls eval"),
        ("jobs/a.py", "import mlflow", "imports mlflow"),
    ],
)
def test_a_breach_is_seen(path, source, breach):
    assert breaches(path, source) == [breach]


def test_what_is_allowed_is_no_breach():
    assert breaches("orchestration/tracking.py", "import mlflow") == []
    assert breaches("search_spaces/strategies.py", "import nevergrad") == []
    assert breaches("orchestration/a.py", "import ray, torch, os\nfrom models import noise") == []
    assert breaches("jobs/a.py", "from orchestration import files\nprint(open('x'))") == []


def test_every_layer_is_there():
    assert {path.partition("/")[0] for path in FILES} == OURS


LIGHT = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    heavy = {"torch", "diffusers", "ray", "mlflow"} & set(sys.modules)
    if heavy:
        sys.exit(f"importing {name} brings in {sorted(heavy)}")
"""


def test_a_mistake_is_answered_before_anything_heavy_is_imported():
    """Configuration, search spaces, and every command up to the call of its main."""
    light = [path for path in FILES if path.startswith(("search_spaces/", "jobs/"))]
    light = [path for path in light if not path.startswith("jobs/benchmarks/")]
    light += ["orchestration/errors.py", "orchestration/config.py", "orchestration/data.py"]
    names = [path.removesuffix(".py").replace("/", ".") for path in light]
    found = subprocess.run(
        [sys.executable, "-c", LIGHT, *names], cwd=ROOT, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")
