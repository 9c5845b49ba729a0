"""Draws `docs/images/architecture.png` from the imports: `python docs/draw_architecture.py`.

Each box is a package (or a few single files); an arrow says that one imports the other, and the wider it is,
the more of its modules do. An import that a chain of others implies is left out, or nothing could be seen.
Rows are so ordered that every arrow points down, which `tests/test_architecture.py` checks for all of them:
the picture cannot show a house that the code does not have.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = (
    ("app", "notebook", "testing"),
    ("python -m workbench.study", "studies", "evaluate"),
    ("report", "runner"),
    ("inspection", "study"),
    ("figures", "answer", "train"),
    ("tasks", "recipes"),
    ("stats", "data", "recipe"),
    ("tracking", "models", "losses, targets"),
    ("masking",),
    ("tables", "config, metrics, batch"),
)
"""Boxes from top to bottom."""
SINGLE = {
    "workbench.study.__main__": "python -m workbench.study",
    "workbench.study.text_output": "python -m workbench.study",
    "workbench.commands": "python -m workbench.study",
    "workbench.losses": "losses, targets",
    "workbench.transport": "losses, targets",
    "workbench.targets": "losses, targets",
    **{
        f"workbench.targets.{name}": "losses, targets"
        for name in ("pixels", "hog", "motion", "features", "error")
    },
    "workbench.tables": "tables",
    "workbench.recipe.batch": "config, metrics, batch",
    "workbench.targets.precision": "config, metrics, batch",
    "workbench.models.encoder": "models",
} | {
    f"workbench.{name}": "config, metrics, batch"
    for name in (
        "config",
        "fields",
        "serial",
        "metrics",
        "errors",
        "addresses",
        "distributed",
        "naming",
        "extensions",
        "extensions.record",
        "project_paths",
    )
}
"""Modules that are no part of their package's box."""
SAID = {
    "app": "the dashboard, without torch",
    "notebook": "runs, answers, figures in Python",
    "python -m workbench.study": "the command line and its screen",
    "studies": "one question a file",
    "evaluate": "a finished run on other data",
    "testing": "contract tests for one's own",
    "report": "page, LaTeX, pictures, --check",
    "runner": "processes: fork server, work, quota",
    "inspection": "clips and queries behind averages",
    "study": "spec, plan, ledger, search (optuna)",
    "figures": "one table, two pictures",
    "answer": "results, effects, caveats, wording",
    "train": "session, loop, run, checkpoint, cost",
    "tracking": "run directories, files, MLflow",
    "tasks": "what a model is asked; metrics",
    "recipes": "one published system a file",
    "stats": "pure statistics",
    "data": "data sets, decoder, store, loader",
    "recipe": "the contract of a recipe",
    "models": "encoders and decoders",
    "losses, targets": "pure functions",
    "masking": "what is hidden",
    "tables": "frames as text",
    "config, metrics, batch": "what a run, a metric, a batch is",
}


def box_of(module: str) -> str:
    """The box of a module, such as `train` for `workbench.train.loop`; empty outside the picture."""
    if module in SINGLE:
        return SINGLE[module]
    parts = module.split(".")
    if parts[0] in ("app", "studies"):
        return parts[0]
    return parts[1] if parts[0] == "workbench" and len(parts) > 1 else ""


def arrows() -> Counter[tuple[str, str]]:
    """(importing box, imported box) -> how many modules import how many, type-checking apart."""
    found: Counter[tuple[str, str]] = Counter()
    for top in ("workbench", "app", "studies"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            own = box_of(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            for module in _imports(ast.parse(path.read_text(encoding="utf-8"))):
                if own and (other := box_of(module)) and other != own:
                    found[own, other] += 1
    return found


def _imports(tree: ast.AST) -> set[str]:
    """Modules of this repository that a file imports, those under `if TYPE_CHECKING` left out."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if _is_module(name)} or {node.module}
    return found


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def implied(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those edges of a graph without circles that a longer way stands for as well."""
    below: dict[str, set[str]] = {}
    for start, end in edges:
        below.setdefault(start, set()).add(end)

    def reach(start: str) -> set[str]:
        return set().union(*({end} | reach(end) for end in below.get(start, ())))

    return {(a, b) for a, b in edges if any(b in reach(c) for c in below[a] - {b})}


def draw(target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colours = (
        "#0072B2",
        "#D55E00",
        "#009E73",
        "#CC79A7",
        "#a0522d",
        "#8a6d00",
        "#3a87ad",
        "#555555",
        "#7a4fbf",
        "#000000",
    )
    figure, axes = plt.subplots(figsize=(9.5, 9.4))
    places = {
        name: ((i + 0.5) / len(row) * 10, float(len(ROWS) - at))
        for at, row in enumerate(ROWS)
        for i, name in enumerate(row)
    }
    shade = {name: colours[at] for at, row in enumerate(ROWS) for name in row}
    found = arrows()
    hidden = implied(set(found))
    for (start, end), count in sorted(item for item in found.items() if item[0] not in hidden):
        (x, y), (u, v) = places[start], places[end]
        bend = 0.06 if abs(y - v) > 1.5 else 0.0
        style = {"arrowstyle": "-|>", "color": shade[start], "alpha": 0.45, "lw": 0.6 + 0.25 * min(count, 10)}
        axes.annotate(
            "", (u, v + 0.27), (x, y - 0.27), arrowprops=style | {"connectionstyle": f"arc3,rad={bend}"}
        )
    for name, (x, y) in places.items():
        text = f"{name}\n" + SAID[name]
        box = {"boxstyle": "round,pad=0.45", "fc": "white", "ec": shade[name], "lw": 1.4}
        axes.text(x, y, text, ha="center", va="center", fontsize=8.5, bbox=box, linespacing=1.5, zorder=5)
    axes.set_xlim(-0.2, 10.2)
    axes.set_ylim(0.4, len(ROWS) + 0.6)
    axes.axis("off")
    figure.savefig(target, dpi=100, bbox_inches="tight", metadata={"Software": None})


if __name__ == "__main__":
    draw(ROOT / "docs/images/architecture.png")
