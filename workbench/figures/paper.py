"""Figures drawn by matplotlib for PDF and PNG, from the tables of `workbench.figures.tables`.

matplotlib is imported only when a figure is drawn, because its import is slow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.figures.parallel import Dimension
from workbench.figures.point_labels import name_points
from workbench.figures.style import (
    CLOCKS,
    COLOURS,
    HOLM,
    LONGEST,
    MAP,
    MARKERS,
    MOST_BARS,
    MOST_MARKERS,
    SCALE,
    STANDING,
    fitted,
    is_number,
    label,
    plain,
    standings,
)
from workbench.figures.tables import MOST_COLUMNS, MOST_CURVES
from workbench.metrics import score
from workbench.tracking.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names are not formulas
    "pdf.fonttype": 42,  # fonts that publishers accept
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
"""matplotlib settings of every figure."""

DPI = 300
LETTERS = 11
"""Letters of an axis title in an inch of the figure."""
ALONG_NAMES = 45
"""Letters of the names below an axis, all together, on one line."""
ALONG_EFFECTS = 64
"""Letters of a title on one line below the intervals of differences, beside which their names stand."""


def sweep(
    table: pl.DataFrame, *, axis: str, metric: str, connected: bool, chance: float | None = None
) -> Figure:
    """The metric over an axis with its intervals; a panel for each value of the third axis.

    chance: the chance level.
    """
    panels, curves = _texts(table, "panel"), _texts(table, "curve")
    figure, parts = _panels(len(panels), width=5.2 if len(panels) == 1 else 3.4)
    positions = table["position"].to_list()
    reach = max(positions) - min(positions) or 1.0
    for axes, panel in zip(parts, panels, strict=True):
        for i, name in enumerate(curves):
            part = table.filter((pl.col("panel") == panel) & (pl.col("curve") == name))
            # A little to the side of each other, so that intervals at one place can be told apart.
            shift = 0.008 * reach * (i - (len(curves) - 1) / 2)
            x = [p + shift for p in part["position"]]
            _points(axes, x, part, i, label=plain(name), line=connected)
        _name_positions(axes, table)
        axes.set_xlim(min(positions) - 0.08 * reach, max(positions) + 0.08 * reach)
        axes.set_xlabel(plain(axis))
        axes.set_title(plain(panel))
        if chance is not None:
            axes.axhline(chance, color="#777777", linewidth=0.8, linestyle="--")
    if chance is not None:  # beside the last panel, where it covers no point
        parts[-1].annotate(f"chance {chance:.1f}", (1, chance), xycoords=("axes fraction", "data"),
                           xytext=(3, 0), textcoords="offset points", va="center", fontsize=7,
                           color="#555555")  # fmt: skip
    parts[0].set_ylabel(fitted(label(metric)))
    _legend(figure, parts[0], len(curves))
    return figure


def grid(table: pl.DataFrame, *, row: str, column: str, metric: str) -> Figure:
    """The metric over two axes as a map, its interval below it; arrows mark claimed differences."""
    panels = _texts(table, "panel")
    rows, columns = _texts(table, "row"), _texts(table, "column")
    width = max(3.0, 1.0 + 0.85 * len(columns))
    height = 1.3 + 0.55 * len(rows)
    figure, parts = _panels(len(panels), width=width, height=height)
    low, high = float(table["mean"].min()), float(table["mean"].max())  # type: ignore[arg-type]
    image = None
    for axes, panel in zip(parts, panels, strict=True):
        found = {
            (r["row"], r["column"]): r for r in table.filter(pl.col("panel") == panel).iter_rows(named=True)
        }
        values = [[found[r, c]["mean"] if (r, c) in found else float("nan") for c in columns] for r in rows]
        image = axes.imshow(
            values, cmap=MAP, vmin=low, vmax=high if high > low else low + 1, aspect="auto", origin="lower"
        )  # rows from below, as on the screen
        axes.grid(visible=False)
        for (r, c), cell in found.items():
            bright = (cell["mean"] - low) / ((high - low) or 1) > 0.5
            axes.text(columns.index(c), rows.index(r), _cell_text(cell), ha="center", va="center",
                      color="black" if bright else "white", fontsize=8)  # fmt: skip
        axes.set_xticks(range(len(columns)), [plain(c) for c in columns])
        axes.set_yticks(range(len(rows)), [plain(r).removeprefix(plain(row)).strip() for r in rows])
        axes.set_xlabel(plain(column))
        axes.set_title(plain(panel))
    parts[0].set_ylabel(plain(row))
    if image is not None:
        figure.colorbar(image, ax=parts, label=fitted(label(metric), round(LETTERS * height)))
    return figure


def cost(table: pl.DataFrame, *, metric: str) -> Figure:
    """The metric against each cost; points of the Pareto front are ringed and connected."""
    costs, curves = _texts(table, "cost"), _texts(table, "curve")
    words = [] if all(not word or is_number(word) for word in table["beside"]) else table.to_dicts()
    figure, parts = _panels(len(costs), width=6.4 if words else 4.4, height=4.0 if words else 3.4, across=2)
    for axes, name in zip(parts, costs, strict=True):
        part = table.filter(pl.col("cost") == name)
        front = part.filter(pl.col("on_front")).sort("x")
        for i, curve in enumerate(curves):
            mine = part.filter(pl.col("curve") == curve)
            if part.height > MOST_BARS:
                mine = mine.with_columns(
                    pl.when("on_front").then(pl.col(limit)).alias(limit) for limit in ("low", "high")
                )
            _points(axes, mine["x"].to_list(), mine, i, label=plain(curve), line=False)
        axes.plot(front["x"], front["mean"], linestyle=":", color="#777777", marker="o", markersize=11,
                  markerfacecolor="none", label="Pareto front")  # fmt: skip
        for x, y, text in part.select("x", "mean", "beside").iter_rows() if not words else ():
            axes.annotate(text, (x, y), xytext=(6, 5), textcoords="offset points", fontsize=7)
        axes.set_xlabel(fitted(label(name)))
        axes.margins(x=0.08)
        axes.xaxis.set_major_locator(_ticks(5))
    for axes in parts[::2]:
        axes.set_ylabel(fitted(label(metric)))
    _legend(figure, parts[0], len(curves) + 1)
    for axes, name in zip(parts, costs, strict=True):
        if named_here := [
            (row["x"], row["mean"], plain(row["beside"])) for row in words if row["cost"] == name
        ]:
            name_points(axes, named_here)
    return figure


def curves(
    table: pl.DataFrame,
    labels: Mapping[str, str],
    *,
    metric: str,
    clocks: Sequence[str] = CLOCKS,
    owners: Mapping[str, str] | None = None,
) -> Figure:
    """Learning curves over each clock; error bars or a band span the minimum to the maximum over seeds.

    owners: key of a dotted curve -> key of the one whose colour it has.
    """
    figure, parts = _panels(len(clocks), width=3.2 if len(clocks) > 1 else 5.2)
    keys, owners = _texts(table, "key"), owners or {}
    colours = {key: i for i, key in enumerate(dict.fromkeys(owners.get(key, key) for key in keys))}
    for axes, clock in zip(parts, clocks, strict=True):
        for key in keys:
            part = table.filter((pl.col("key") == key) & pl.col(clock).is_not_null())
            i, dotted = colours[owners.get(key, key)], key in owners
            if part.height > MOST_MARKERS:
                colour = COLOURS[i % len(COLOURS)]
                axes.fill_between(
                    part[clock], part["low"], part["high"], color=colour, alpha=0.18, linewidth=0
                )
                part = part.with_columns(low=None, high=None)
            _points(axes, part[clock].to_list(), part, i, label=plain(labels[key]), line=True, dotted=dotted)
        axes.set_xlabel(label(clock))
        axes.set_xlim(left=0)
        if score(metric) is not None:  # of a loss zero says nothing
            axes.set_ylim(bottom=min(0.0, *table["mean"]))
        axes.xaxis.set_major_locator(_ticks(4))
    parts[0].set_ylabel(fitted(label(metric)))
    _legend(figure, parts[0], len(keys), columns=2 if max(len(v) for v in labels.values()) > 24 else 4)
    return figure


def effects(
    table: pl.DataFrame, *, title: str, rule: str = HOLM, intervals: str = "95 % intervals"
) -> Figure:
    """Differences with their intervals, the first on top; coloured where one may be claimed.

    rule: by which it may, such as "after Holm"; empty where none was tested. intervals: at which level.
    """
    names = [fitted(" ".join(cell.replace("_", " ").split()), LONGEST) for cell in table["cell"]]
    lines = max(name.count("\n") + 1 for name in names)
    figure, (axes,) = _panels(1, width=6.4, height=1.5 + (0.1 + 0.14 * lines) * table.height)
    shapes = {"better": "^", "worse": "v", "": "o"}
    height = {cell: -i for i, cell in enumerate(table["cell"])}
    for standing, name in standings(rule).items():
        part = table.filter(pl.col("standing") == standing)
        if part.is_empty():
            continue
        y = [height[cell] for cell in part["cell"]]
        style: dict[str, Any] = {"color": STANDING[standing]}
        axes.plot(part["effect"], y, shapes[standing], markersize=5, label=name, **style)
        for at, low, high in zip(y, part["low"], part["high"], strict=True):
            if low is not None and high is not None:
                axes.plot([low, high], [at, at], linewidth=1.2, **style)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(height.values()), names)
    axes.set_ylim(0.3 - table.height, 0.7)
    axes.set_xlabel(f"{fitted(title, ALONG_EFFECTS)}\n{intervals}")
    _legend(figure, axes, 3)
    return figure


def parallel(dimensions: Sequence[Dimension]) -> Figure:
    """Every cell as a line through the dimensions; the last one colours it."""
    figure, (axes,) = _panels(1, width=1.6 * len(dimensions))
    scaled = [dimension.scaled() for dimension in dimensions]
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("cells", SCALE)
    for shares in zip(*scaled, strict=True):
        axes.plot(range(len(dimensions)), shares, color=colours(shares[-1]), linewidth=1.2)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    for x, dimension in enumerate(dimensions):
        axes.axvline(x, color="#777777", linewidth=0.8)
        for share, text in dimension.marks():
            axes.annotate(plain(text), (x, share), xytext=(3, 0), textcoords="offset points", fontsize=7,
                          va="center", bbox=box)  # fmt: skip
    axes.set_xticks(range(len(dimensions)), [plain(d.name) for d in dimensions], rotation=20, ha="right")
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    return figure


def save(figure: Figure, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Writes the figure as the file's ending says; never half a file. See `written`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(written(figure, path.suffix.lstrip("."), about))


def written(figure: Figure, ending: str, about: Mapping[str, str] | None = None) -> bytes:
    """The figure as a file (png, pdf, svg), at the resolution that journals ask for.

    Files carry no date, so that the same numbers make the same file.

    Args:
        about: `title` and `words` that go inside the file, to be read in its properties.
    """
    metadata: dict[str, str | None] = {"CreationDate": None} if ending == "pdf" else {}
    fields = {"pdf": ("Title", "Subject"), "png": ("Title", "Description")}.get(ending, ())
    metadata |= {
        field: (about or {}).get(name) for field, name in zip(fields, ("title", "words"), strict=False)
    }
    out = io.BytesIO()
    given = {name: value for name, value in metadata.items() if value or name == "CreationDate"}
    figure.savefig(out, format=ending, dpi=DPI, metadata=given)
    return out.getvalue()


def _panels(
    count: int, *, width: float, height: float = 3.4, across: int = MOST_CURVES
) -> tuple[Figure, list[Axes]]:
    """So many panels, at most `across` in a line; width and height of one in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.use("Agg")  # files only; no window is ever opened
    matplotlib.rcParams |= STYLE
    across = min(across, count)
    lines = -(-count // across)
    size = (width * across + (0.8 if count == 1 else 0), height * lines)
    figure = Figure(figsize=size, layout="constrained")
    found = list(figure.subplots(lines, across, sharey=True, squeeze=False).flat)
    for axes in found[count:]:
        axes.set_visible(False)
    return figure, found[:count]


def _ticks(most: int) -> Locator:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most)


def _points(
    axes: Axes, x: Sequence[float], part: pl.DataFrame, i: int, *, label: str, line: bool,
    dotted: bool = False,
) -> None:  # fmt: skip
    colour = COLOURS[i % len(COLOURS)]
    marker = "" if line and part.height > MOST_MARKERS else MARKERS[i % len(MARKERS)]
    axes.plot(x, part["mean"], color=colour, marker=marker, markersize=4.5, linewidth=1.4,
              linestyle=(":" if dotted else "-") if line else "", label=label)  # fmt: skip
    limits = zip(x, part["low"], part["high"], strict=True)
    if known := [limit for limit in limits if None not in limit]:
        at, low, high = zip(*known, strict=True)
        axes.vlines(at, low, high, colors=colour, linewidth=1.0)


def _name_positions(axes: Axes, table: pl.DataFrame) -> None:
    """A tick at each value where they can be read; long names have several lines, or are turned."""
    ticks = table.unique("position").sort("position")
    names = [plain(x) for x in ticks["x"]]
    turn: dict[str, Any] = {}
    if len(names) > MOST_COLUMNS:
        if all(map(is_number, names)):
            return
        turn = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
    elif sum(map(len, names)) > ALONG_NAMES:
        each = ALONG_NAMES // len(names)
        if max(len(word) for name in names for word in name.split()) <= each:
            names = [fitted(name, each) for name in names]
        else:
            turn = {"rotation": 30, "ha": "right"}
    axes.set_xticks(ticks["position"].to_list(), names, **turn)


def _legend(figure: Figure, axes: Axes, entries: int, columns: int = 4) -> None:
    """Below the panels, where it covers no point."""
    handles, labels = axes.get_legend_handles_labels()
    if any(labels) and entries > 1:
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), fontsize=8
        )


def _cell_text(cell: Mapping[str, Any]) -> str:
    arrow = {"better": " ↑", "worse": " ↓"}.get(cell["standing"], "")
    interval = "" if cell["low"] is None else f"\n[{cell['low']:.1f}, {cell['high']:.1f}]"
    return f"{cell['mean']:.1f}{arrow}{interval}"


def _texts(table: pl.DataFrame, column: str) -> list[str]:
    return table[column].unique(maintain_order=True).to_list()
