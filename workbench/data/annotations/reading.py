"""Reading of annotation files, with error messages of one sentence that names the file."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import UserError

LONGEST = 20_000
"""Largest number of characters of a caption or paragraph; more is an error in the file."""


def text_of(path: Path) -> str:
    """The text of a file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def lines_of(path: Path) -> list[str]:
    """The lines that are not empty, without spaces at their ends."""
    # Not `splitlines`, because captions may contain other characters that it treats as line ends.
    return [line.strip() for line in text_of(path).split("\n") if line.strip()]


def json_of(path: Path) -> Any:
    """The content of a JSON file."""
    try:
        return json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a JSON file: {error}") from error


def json_lines_of(path: Path) -> list[Any]:
    """The content of each line of a JSON Lines file."""
    try:
        return [json.loads(line) for line in lines_of(path)]
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not a file with JSON in each line: {error}") from error


def entries(path: Path, value: Any, *keys: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list, each of which has these keys."""
    if not isinstance(value, list):
        raise UserError(f"{path} must be a list of objects with {_all(keys)}; it may be of another benchmark")
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, dict) or not set(keys) <= set(entry):
            raise UserError(
                f"{path}, entry {number} must have {_all(keys)}; the file may be of another benchmark"
            )
        yield entry


def objects(path: Path, value: Any, kind: type | tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Keys and values of an object whose values are all of one type."""
    if not isinstance(value, dict):
        raise UserError(f"{path} must be an object of names; it may be of another benchmark")
    for name, found in value.items():
        if not isinstance(found, kind):
            raise UserError(f"{path}: {name!r} has {found!r:.60}; the file may be of another benchmark")
        yield name, found


def table_of(path: Path, *columns: str) -> Iterator[Mapping[str, str]]:
    """Rows of a CSV file with a header that has these columns; its fields may be separated by tabs."""
    text = text_of(path)
    header = text.partition("\n")[0]
    delimiter = "\t" if "\t" in header else ","
    reader: Any = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            found = ", ".join(reader.fieldnames or ())[:120] or "nothing"
            raise UserError(
                f"{path} has the columns {found}, not {_all(columns)}; it may be of another benchmark"
            )
        for number, row in enumerate(reader, start=2):
            if any(row[column] is None for column in columns):
                raise UserError(f"{path}, row {number} has fewer fields than the header")
            more = list(filter(None, row.pop(None, ())))
            if more:  # otherwise a caption would be cut at its first comma
                raise UserError(
                    f"{path}, row {number} has more fields than the header, such as {more[0]!r:.60}; "
                    "a field with commas stands in quotes"
                )
            yield row
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {error}") from error


def whole(text: str) -> str:
    """Text that can be written as UTF-8. Halves of a sign, as JSON may have them in `"\\ud83d"`, are joined
    where both are there; one that is alone becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def one_line(text: str) -> str:
    """A caption as it is stored: `whole`, with single spaces."""
    return " ".join(whole(text).replace("\0", " ").split())


def name_of(path: Path, value: Any, what: str = "a video") -> str:
    """The name of a video or of something else: text, or a whole number, whose digits are the name."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{path}: {what} must be named by text, not {value!r:.60}")
    return whole(value).strip()


def names_of(path: Path) -> list[str]:
    """The names that a JSON file lists."""
    found = json_of(path)
    if not isinstance(found, list):
        raise UserError(f"{path} must be a list of names, not {found!r:.60}")
    return [name_of(path, one) for one in found]


def caption_of(path: Path, text: Any) -> str:
    """A caption with single spaces; a list of words is one caption. Empty where there is none."""
    if isinstance(text, list) and all(isinstance(word, str) for word in text):
        text = " ".join(text)
    if not isinstance(text, str):
        raise UserError(f"{path}: a caption must be text, not {text!r:.60}")
    caption = one_line(text)
    if len(caption) > LONGEST:
        raise UserError(f"{path}: a caption must have at most {LONGEST} characters, not {len(caption)}")
    return caption


def captions_of(path: Path, value: Any, *, paragraph: bool = False) -> list[str]:
    """One caption or a list of them; for paragraphs all sentences joined."""
    found = [caption_of(path, one) for one in (value if isinstance(value, list) else [value])]
    return [" ".join(filter(None, found))] if paragraph else found


def seconds_of(path: Path, value: Any) -> float:
    """A time in seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{path}: a time must be a number of seconds, not {value!r:.60}")
    if not math.isfinite(value):
        raise UserError(f"{path}: a time must be a number of seconds, not {value}")
    return float(value)


def _all(names: Sequence[str]) -> str:
    return ", ".join(names)
