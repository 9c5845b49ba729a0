"""The user's own recipes, maskings, data sets, tasks, views and studies.

Each is a file in a folder of its kind, such as `./recipes/mine.py`. The folders are looked for in the working
folder, in those of `$WORKBENCH_OWN`, and in installed packages with an entry point in the group `workbench`,
whose value is the name of the package. They extend the built-in package of the kind: `./recipes/mine.py` is
`workbench.recipes.mine`, in imports, in configuration files and in keys, wherever the folder is. Files whose
names begin with `_` are helpers, those that begin with `test_` are tests. See docs/extending.md.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from workbench.errors import UserError
from workbench.project_paths import PACKAGE, ours

HOMES = "WORKBENCH_OWN"
"""Environment variable: further folders that contain `recipes/`, `maskings/` and so on, separated as in
PATH."""
GROUP = "workbench"
"""Entry points of this group name packages that contain such folders."""


class _Kind(NamedTuple):
    package: str
    """The built-in package that the folders extend."""
    defines: tuple[str, ...]
    """Names at the top level of a file of this kind; a file with none of them is of another kind."""

    @property
    def folder(self) -> Path:
        """The folder of the built-in files."""
        top, _, name = self.package.partition(".")
        return (PACKAGE if top == "workbench" else ours(top)) / name


KINDS = {
    "recipes": _Kind("workbench.recipes", ("Config", "Recipe")),
    "maskings": _Kind("workbench.masking", ()),
    "datasets": _Kind("workbench.data", ("index", "videos")),
    "tasks": _Kind("workbench.tasks", ("METRICS", "NEEDS", "EACH_TIME", "evaluate")),
    "views": _Kind("app.views", ("TITLE", "render")),
}
"""Name of the folder -> the kind of its files."""


def folders(kind: str) -> list[Path]:
    """The user's folders of a kind, or of `studies`, in order of precedence."""
    mine = KINDS[kind].folder if kind in KINDS else None
    return [home / kind for home in _homes() if (home / kind).is_dir() and home / kind != mine]


def paths(kind: str) -> list[str]:
    """The folders that a built-in package adds to its `__path__`."""
    return [str(folder) for folder in folders(kind)]


def files(kind: str) -> dict[str, Path]:
    """Name -> file of all of the user's files of a kind, parsed and not imported.

    Raises `UserError` for a name that is built in or in another folder too. A file that cannot be parsed is
    included: `module` reports its error.
    """
    known, found = KINDS[kind], dict[str, Path]()
    taken = _stems(known.folder)
    for folder in folders(kind):
        for file in sorted(folder.glob("*.py")):
            if file.stem.startswith(("_", "test_")) or file.stem == "conftest" or not _is_one(known, file):
                continue
            if file.stem in taken:
                raise UserError(f"{file} has the name of {known.package}.{file.stem}; give the file another")
            if file.stem in found:
                raise UserError(f"{found[file.stem]} and {file} have the same name; give one of them another")
            if not file.stem.isidentifier():
                raise UserError(f"the name of {file} must be letters, digits and _, as that of a module")
            found[file.stem] = file
    return found


def check() -> None:
    """Raises `UserError` for clashing names, before a built-in file is mistaken for the user's."""
    for kind in KINDS:
        files(kind)


def defined(tree: ast.Module) -> set[str]:
    """Names that a module has at its top level."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def module(name: str) -> ModuleType:
    """Imports a module by its full name. Raises `UserError` if the fault is in the user's own file."""
    with blaming():
        found = importlib.import_module(name)
    for kind, file in of([name]):
        if missing := [thing for thing in KINDS[kind].defines if not hasattr(found, thing)]:
            needs = ", ".join(KINDS[kind].defines)
            raise UserError(f"{file} has no {', '.join(missing)}; a file in {kind}/ must define {needs}")
    return found


@contextmanager
def blaming() -> Iterator[None]:
    """Converts an error in a user's file to a `UserError` with its position and reason."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if said := blamed(error):
            raise UserError(said) from error
        raise


def blamed(error: BaseException) -> str:
    """The sentence about an error in a user's file; empty for any other."""
    place, line = "", 0
    if isinstance(error, SyntaxError):
        place, line = error.filename or "", error.lineno or 0
    trace = error.__traceback__
    while trace is not None and not isinstance(error, SyntaxError):
        if _is_own(trace.tb_frame.f_code.co_filename):
            place, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    if not _is_own(place):
        return ""
    said = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    return f"{place} cannot be loaded, line {line}: {type(error).__name__}: {said[:300]}"


def use(home: Path) -> None:
    """Adds a folder that contains `recipes/` and so on to this process and its child processes."""
    known = os.environ.get(HOMES, "")
    os.environ[HOMES] = os.pathsep.join(filter(None, [known, str(home.absolute())]))
    importlib.invalidate_caches()
    for kind, (package, _) in KINDS.items():
        if (there := sys.modules.get(package)) is not None:
            there.__path__.extend(path for path in paths(kind) if path not in there.__path__)


def of(modules: Sequence[str]) -> list[tuple[str, Path]]:
    """Kind and file of the modules that are the user's own."""
    found = []
    for name in modules:
        package, _, last = name.rpartition(".")
        for kind, known in KINDS.items():
            if known.package == package and (file := files(kind).get(last)) is not None:
                found.append((kind, file))
    return found


def _homes() -> list[Path]:
    homes: list[Path] = []
    with suppress(FileNotFoundError):  # the working folder may be gone
        homes.append(Path.cwd())
    homes += [Path(given).absolute() for given in os.environ.get(HOMES, "").split(os.pathsep) if given]
    return list(dict.fromkeys([*homes, *_installed()]))


@functools.cache
def _installed() -> tuple[Path, ...]:
    """Folders of the packages with an entry point in the group; the packages are not imported."""
    homes: list[Path] = []
    for point in metadata.entry_points(group=GROUP):
        try:
            spec = importlib.util.find_spec(point.value)
        except ModuleNotFoundError:
            spec = None
        if spec is None or not spec.submodule_search_locations:
            raise UserError(
                f"the entry point {point.name} of {GROUP} names {point.value}, which is not a package"
            )
        homes += map(Path, spec.submodule_search_locations)
    return tuple(homes)


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/*.py")}


def _is_one(kind: _Kind, file: Path) -> bool:
    """Whether a file defines a name of its kind, or cannot be read."""
    try:
        names = defined(ast.parse(file.read_bytes()))
    except (SyntaxError, ValueError):
        return True
    return bool(names & set(kind.defines)) if kind.defines else any(n.endswith("Masking") for n in names)


def _is_own(file: str) -> bool:
    return any(Path(file).parent == folder for kind in KINDS for folder in folders(kind)) if file else False
