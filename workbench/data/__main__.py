"""Command line of data sets.

`python -m workbench.data list` lists them, `... check PATH` reports on a folder of videos or on `NAME:PATH`,
and `... shard PATH --into DIR` writes the data as shards."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from workbench import data as datasets
from workbench.data.check import check, text
from workbench.errors import UserError
from workbench.project_paths import called
from workbench.tracking.files import check_folder, write_atomic


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 without problems, 1 if a study would have problems, 2 if there are no data."""
    options = _parser().parse_args(arguments)
    if options.command == "list":
        print(listing())
        return 0
    try:
        if options.command == "shard":
            return _shard(options)
        if options.json:  # fail now rather than after minutes of decoding
            folder = options.json.absolute().parent
            if not folder.is_dir() or options.json.is_dir():
                raise UserError(f"--json must be a file in an existing folder, not {options.json}")
            check_folder(folder, "--json")
        report = check(options.place)
        print(text(report))
        if options.json:
            write_atomic(options.json, json.dumps(asdict(report), indent=2) + "\n")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if report.fine else 1


def _shard(options: argparse.Namespace) -> int:
    """Writes shards and reports them. Exit code 1 if files of clips were missing."""
    from workbench.data.shards.write import shard

    made = shard(options.source, options.into, clips=options.clips, progress=sys.stderr.isatty())
    there = f" ({made.found} were there)" if made.found else ""
    print(f"{made.samples} clips in {made.shards} shards{there}: {options.into}")
    if made.missing:
        print(f"{len(made.missing)} clips are left out, such as {made.missing[0]}", file=sys.stderr)
    return 1 if made.missing else 0


def listing() -> str:
    """Each data set with its name on the command line and a description of one line."""
    rows = []
    for name in datasets.names():
        try:
            module = datasets.load(name)
        except UserError as error:  # from a user's file
            rows.append((name, str(error)))
            continue
        place = f"{name}:PATH" if getattr(module, "SOURCE", "") else name
        said = getattr(module, "PROTOCOLS", {}).get(name.partition("-")[2])
        about = (inspect.getdoc(module) or "").partition("\n\n")[0].replace("\n", " ")
        rows.append((place, f"{about.partition(' ')[0] if said else ''} {said or about}".strip()))
    width = max(len(place) for place, _ in rows)
    return "\n".join(f"{place.ljust(width)}  {about}" for place, about in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=called("data"), description="Look at data.")
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("list", help="the data sets, with what each takes")
    checking = commands.add_parser("check", help="report on a folder of videos; 1 where something is wrong")
    checking.add_argument(
        "place", metavar="PATH", help="the folder, with captions.csv or without, or NAME:PATH"
    )
    checking.add_argument("--json", type=Path, help="write all that was found to this file")
    sharding = commands.add_parser("shard", help="write tar files in WebDataset's layout, for shards:DIR")
    sharding.add_argument("source", metavar="SOURCE", help="a folder with captions.csv, or NAME or NAME:PATH")
    sharding.add_argument("--into", type=Path, required=True, metavar="DIR", help="the folder of the shards")
    sharding.add_argument("--clips", type=int, default=1000, help="number of clips in a shard")
    return parser


if __name__ == "__main__":
    sys.exit(main())
