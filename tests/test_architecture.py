"""The folder tree is the architecture: imports go one way, and every library has one home."""

import ast
import fnmatch
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("workbench", "studies", "app", "benchmarks")
TREE = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

HOMES = {
    "optuna": ["workbench/study/*"],
    "mlflow": ["workbench/tracking/mlflow*.py"],
    "wandb": ["workbench/tracking/mirrors/wandb.py"],
    "decord": ["workbench/data/decode.py"],
    "fsspec": ["workbench/data/shards/locations.py"],
    "av": ["workbench/data/decode.py"],
    "timm": ["workbench/models/*"],
    "transformers": ["workbench/models/*"],
    "tokenizers": ["workbench/models/*"],
    "safetensors": ["workbench/train/checkpoint.py", "workbench/models/*"],
    "sklearn": ["workbench/tasks/probe.py"],
    "pycocoevalcap": ["workbench/tasks/captioning.py"],
    "streamlit": ["app/*"],
    "matplotlib": [
        "workbench/figures/paper.py",
        "workbench/figures/point_labels.py",
        "workbench/report/pictures.py",
        "app/widgets.py",
    ],
}
"""Where a library may be imported, at the top of a file or inside a function; benchmarks may anywhere."""

CORE = "config fields serial errors addresses metrics naming extensions project_paths distributed"
RECIPE_PARTS = f"{CORE} models masking losses targets recipe"
RUN = f"{CORE} data models recipe tasks tracking.files tracking.run_dir tracking.code masking.preview train"
LAYERS = {
    "workbench/config.py": "errors fields serial",
    "workbench/fields.py": "errors",
    "workbench/serial.py": "errors extensions",
    "workbench/extensions/*": "errors project_paths extensions",
    "workbench/errors.py": "",
    "workbench/distributed.py": "",
    "workbench/project_paths.py": "",
    "workbench/commands.py": "project_paths",
    "workbench/metrics.py": "",
    "workbench/testing/*": f"{RECIPE_PARTS} data recipes tasks testing train.session",
    "workbench/naming.py": "errors",
    "workbench/tasks/gallery.py": "config data.augment data.sampling data.store recipe.batch",
    "workbench/tasks/*": f"{CORE} data.moving_shapes data.questions data.store recipe.batch stats tasks",
    "workbench/recipe/batch.py": "distributed",
    "workbench/recipe/*": f"{CORE} masking models losses targets recipe data.store data.truth",
    "workbench/masking/*": f"{CORE} masking recipe.batch",
    "workbench/losses.py": f"{CORE} targets.error targets.precision transport",
    "workbench/transport.py": "targets.precision",
    "workbench/targets/*": f"{CORE} targets",
    "workbench/models/*": f"{CORE} masking models recipe.batch targets.precision",
    "workbench/recipes/*": f"{RECIPE_PARTS} data.store data.truth",
    "workbench/data/loader.py": f"{CORE} data.augment data.sampling data.store models recipe",
    "workbench/data/augment/*": "config data.augment",
    "workbench/data/*": f"{CORE} data tracking.files",
    "workbench/train/checkpoint.py": f"{CORE} tracking.files",
    "workbench/train/cost.py": f"{CORE} models recipe train.step.compiled",
    "workbench/train/environment.py": CORE,
    "workbench/train/*": RUN,
    "workbench/stats/*": "errors stats",
    "workbench/tracking/*": f"{CORE} tracking",
    "workbench/figures/*": f"{CORE} stats tasks tracking.files figures",
    "workbench/answer/*": f"{CORE} stats tasks tables tracking answer",
    "workbench/report/share/*": f"{CORE} tasks figures tracking answer report inspection",
    "workbench/report/*": f"{CORE} stats tasks tables figures tracking answer report",
    "workbench/notebook/*": f"{CORE} stats tables tasks figures tracking answer report notebook",
    "workbench/inspection/on_demand.py": f"{RECIPE_PARTS} data.decode data.sampling tracking train "
    "inspection",
    "workbench/inspection/predictions.py": f"{RECIPE_PARTS} data tasks tracking train inspection",
    "workbench/inspection/loading.py": f"{RECIPE_PARTS} data.augment data.sampling tracking train",
    "workbench/inspection/abilities.py": "extensions recipes",
    "workbench/evaluate/*": f"{CORE} data models recipe tasks tracking.files tracking.run_dir train evaluate "
    "inspection.loading",
    "workbench/inspection/*": f"{CORE} data.augment data.store data.moving_shapes tasks tracking inspection",
    "workbench/runner/device.py": f"{CORE} tracking study.plan train.environment",
    "workbench/runner/*": f"{CORE} tables tracking runner "
    "study.spec study.plan study.outcome study.storage study.ledger study.search",
    "workbench/study/__main__.py": f"{CORE} data tasks tracking study runner answer report train.session",
    "workbench/study/cells/check.py": f"{CORE} tasks train.session study",
    "workbench/study/text_output.py": f"{CORE} tasks tables answer report tracking study",
    "workbench/study/*": f"{CORE} stats.looks data recipes tasks tracking study",
    "studies/*": "config recipes masking models study.spec study.stages data",
    "app/*": "errors metrics extensions tasks tracking.runs tracking.curves tracking.run_dir tracking.files "
    "tracking.cache.queries "
    "tracking.notes stats answer report tables figures inspection data.workers data.store masking.names "
    "naming",
}
"""Modules of `workbench` that a file may import; the first pattern that fits a file counts."""


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Every module a file imports, wherever in the file; `from workbench import cost` is `workbench.cost`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
            if is_package(node.module):
                found |= {f"{node.module}.{a.name}" for a in node.names if is_module(node.module, a.name)}
    return found


def is_package(module):
    return (ROOT / module.replace(".", "/")).is_dir()


def is_module(package, name):
    place = ROOT / package.replace(".", "/") / name
    return place.is_dir() or place.with_suffix(".py").is_file()


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_home_only(library):
    found = {name_of(p) for p in TREE if any(m.split(".")[0] == library for m in imports(p))}
    found = {name for name in found if not name.startswith("benchmarks/")}
    assert {n for n in found if not any(fnmatch.fnmatch(n, home) for home in HOMES[library])} == set()


@pytest.mark.parametrize("pattern", LAYERS)
def test_layers_import_downwards(pattern):
    allowed = LAYERS[pattern].split()
    for path in TREE:
        name = name_of(path)
        if (
            name.endswith("/__init__.py")
            or next((p for p in LAYERS if fnmatch.fnmatch(name, p)), "") != pattern
        ):
            continue
        for module in imports(path) - {"workbench"}:
            inner = module.removeprefix("workbench.")
            fits = any(f"{inner}.".startswith(f"{a}.") or f"{a}.".startswith(f"{inner}.") for a in allowed)
            assert inner == module or fits, f"{name} imports {module}"


def test_every_pattern_still_fits_a_file():
    names = [name_of(path) for path in TREE]
    assert [p for p in LAYERS if not fnmatch.filter(names, p)] == []


def modules():
    """Every module of the tree by its name -> those of the tree that it imports, wherever in the file."""
    names = {name_of(p).removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in TREE}
    return {name: {m for m in imports(path) if m in names and m != name} for name, path in names.items()}


def circles(graph):
    """Groups of nodes that reach one another by way of what each node reaches."""
    reach = {}
    for start in graph:
        seen, todo = set(), [start]
        while todo:
            for follower in graph[todo.pop()] - seen:
                seen.add(follower)
                todo.append(follower)
        reach[start] = seen
    groups = {frozenset(b for b in graph if b in reach[a] and a in reach[b]) for a in graph if a in reach[a]}
    return sorted(sorted(group) for group in groups)


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]


def test_no_imports_go_in_a_circle():
    assert circles(modules()) == []


def test_the_rings_import_inwards():
    """`train` knows no study, `study` no runner (but its command line does), `answer` no report."""
    graph = {name: targets for name, targets in modules().items() if not name.endswith("__main__")}
    outside = {
        "workbench.train": ("study", "runner", "answer", "report", "figures", "tracking.mlflow"),
        "workbench.tasks": ("train", "study", "runner", "answer", "report"),
        "workbench.study": ("runner",),
        "workbench.runner": ("answer", "report", "train.loop", "train.session", "train.run"),
        "workbench.stats": ("answer", "report", "tasks", "tracking"),
        "workbench.answer": ("report", "study", "runner", "train", "figures"),
        "workbench.report": ("study", "runner", "train"),
    }
    for ring, others in outside.items():
        found = {
            f"{name} -> {target}"
            for name, targets in graph.items()
            if f"{name}.".startswith(f"{ring}.")
            for target in targets
            if f"{target}.".startswith(tuple(f"workbench.{other}." for other in others))
        }
        assert found == set()


def test_in_the_picture_every_arrow_points_down():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs/draw_architecture.py")
    drawing = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(drawing)
    row = {name: at for at, names in enumerate(drawing.ROWS) for name in names}
    found = drawing.arrows()
    assert {name for pair in found for name in pair} == set(row) == set(drawing.SAID)
    assert {(start, end) for start, end in found if row[start] >= row[end]} == set()


PLUGINS = {
    "workbench/recipes",
    "workbench/data",
    "workbench/data/benchmarks",
    "workbench/tasks",
    "app/views",
    "studies",
}
"""Packages that grow by a file for each thing that is added."""


def test_no_package_has_more_files_than_one_can_keep_in_mind():
    folders = {path.parent for path in TREE}
    counts = {name_of(folder): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: n for name, n in counts.items() if n > 14 and name not in PLUGINS} == {}


def test_recipes_never_import_each_other():
    for path in (ROOT / "workbench/recipes").glob("*.py"):
        assert not any(m.startswith("workbench.recipes") for m in imports(path)), path.name


def test_the_package_imports_neither_studies_nor_app():
    for path in (ROOT / "workbench").rglob("*.py"):
        assert not {m.split(".")[0] for m in imports(path)} & {"studies", "app", "benchmarks"}, name_of(path)


def loaded_by(statement):
    """Top-level modules that are in memory after a statement, in a process of its own."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


HEAVY = {"torch", "timm", "transformers", "mlflow", "optuna", "streamlit", "polars", "plotly", "decord", "av"}


def test_importing_the_package_loads_nothing_heavy():
    light = "import workbench, workbench.config, workbench.errors, workbench.data, workbench.data.store"
    assert loaded_by(f"{light}, workbench.tracking.run_dir") & (HEAVY | {"scipy"}) == set()


def test_training_runs_where_only_training_is_installed():
    loaded = loaded_by("import workbench.train.__main__")
    assert loaded & {"mlflow", "optuna", "streamlit", "polars", "plotly", "decord", "av"} == set()
    assert {"torch", "timm", "transformers"} <= loaded


def test_the_dashboard_loads_neither_torch_nor_a_tracker():
    app = [name_of(p).removesuffix(".py").replace("/", ".") for p in (ROOT / "app").rglob("*.py")]
    loaded = loaded_by("import " + ", ".join(app))
    assert loaded & {"torch", "timm", "transformers", "mlflow", "optuna", "decord", "av"} == set()
    assert loaded & {"matplotlib", "pandas"} == set(), "slow, and not needed for a first picture"
    assert {"streamlit", "polars", "plotly"} <= loaded


def test_the_dashboard_imports_little_else():
    """Streamlit, polars and plotly; what else it needs is in the workbench."""
    allowed = {"app", "workbench", "streamlit", "polars", "plotly", "matplotlib", "numpy"}
    for path in (ROOT / "app").rglob("*.py"):
        others = {m.split(".")[0] for m in imports(path)} - allowed - sys.stdlib_module_names
        assert others == set(), name_of(path)


def nodes():
    """Every syntax node of the tree with its place, as `file:line`."""
    for path in TREE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield f"{name_of(path)}:{getattr(node, 'lineno', 1)}", node


def dotted(node):
    """`torch.load` for the node of that attribute, empty for anything but names with dots."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}".lstrip(".")
    return node.id if isinstance(node, ast.Name) else ""


def test_nothing_is_unpickled():
    forbidden = {"pickle", "cPickle", "dill", "joblib", "shelve", "marshal"}
    assert [name_of(p) for p in TREE if {m.split(".")[0] for m in imports(p)} & forbidden] == []
    assert [place for place, node in nodes() if dotted(node) in ("torch.load", "torch.save")] == []
    allowing = [
        place
        for place, node in nodes()
        if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "trust_remote_code")
        if not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert allowing == []


def test_no_error_is_swallowed_unseen():
    handlers = [(place, node) for place, node in nodes() if isinstance(node, ast.ExceptHandler)]
    assert [place for place, node in handlers if node.type is None] == [], "a bare except"
    silent = [
        place
        for place, node in handlers
        if {dotted(n) for n in ast.walk(node.type)} & {"Exception", "BaseException"}
        and all(isinstance(line, ast.Pass) for line in node.body)
    ]
    assert silent == []


def test_random_numbers_come_from_a_generator():
    """Torch draws from the generator that is passed in, numpy never from its global state."""
    draws = {f"torch.{n}" for n in ("rand", "randn", "randint", "randperm", "multinomial", "bernoulli")}
    for place, node in nodes():
        if isinstance(node, ast.Call) and dotted(node.func) in draws and "cost.py" not in place:
            assert "generator" in {k.arg for k in node.keywords}, place
        name = dotted(node).removeprefix("np.random.")
        if isinstance(node, ast.Attribute) and name != dotted(node):
            assert name == "default_rng" or name[0].isupper(), place


def test_every_file_says_what_it_is():
    full = [p for p in TREE if p.stat().st_size]
    assert [name_of(p) for p in full if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))] == []


def test_no_test_hides_inside_another():
    """Pytest does not collect a function inside a function."""
    hidden = [
        f"{name_of(path)}:{inner.lineno} {inner.name}"
        for path in TESTS
        for outer in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
        if inner is not outer and isinstance(inner, ast.FunctionDef) and inner.name.startswith("test_")
    ]
    assert hidden == []


def test_no_two_test_files_share_a_name():
    """Pytest imports them by name alone, and would leave one out."""
    names = [path.name for path in TESTS if path.name.startswith("test_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_file_is_short_enough_to_read():
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in TREE + TESTS}
    assert [(name_of(p), n) for p, n in lines.items() if n > (350 if p in TREE else 450)] == []
