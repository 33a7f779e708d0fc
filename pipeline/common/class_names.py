"""What a class may be called: names end up in tables, metrics of MLflow, plots and pages."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from pipeline.common.errors import UserError
from pipeline.common.labels import SEPARATOR

LONGEST = 150
"""MLflow allows metrics of 250 characters, of which `test/selected/…` takes some."""


def require_class_names(classes: Sequence[str], where: str, *, listed: bool) -> None:
    """Raise UserError for names that do not work, or are probably a mistake in `where`, a parameter or a column.

    `listed`: the names are a list in params.yaml. Otherwise they were found in the cells of a table, and two that look
    the same are probably one class with two spellings.
    """
    if len(classes) < 2:
        hint = " (for one finding: task multiclass and its 0/1 column as the label)" if classes else ""
        raise UserError(f"{where}: has {len(classes)} classes {list(classes)}; at least 2 are needed{hint}")
    for name, times in Counter(classes).items():
        _require_name(name, where)
        if times > 1:
            raise UserError(f"{where}: {name!r} is duplicated; each class needs a unique name")
    if not listed:
        _require_distinct(classes, where)
    for first, second in _pairs(classes, in_metric):
        raise UserError(
            f"{where}: the classes {first!r} and {second!r} have the same name in MLflow, {in_metric(first)!r}: it "
            "allows only letters, digits, spaces and - . _; rename one"
        )


def in_metric(name: str) -> str:
    """Return a name as a part of a metric's: none of the characters that MLflow refuses, neither `.` nor `..`."""
    return re.sub(r"[^\w\-. ]|^\.+$", "_", name)


def _require_name(name: str, where: str) -> None:
    if not name.strip():
        raise UserError(f"{where}: {name!r} is blank; each class needs a name")
    if SEPARATOR in name:
        raise UserError(f"{where}: the class name {name!r} contains {SEPARATOR!r}, which joins findings; rename it")
    if len(name) > LONGEST:
        raise UserError(
            f"{where}: the class name {name[:40]!r}… has {len(name)} characters; at most {LONGEST} fit into the name "
            "of a metric; shorten it"
        )
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in name):
        raise UserError(f"{where}: the class name {name!r} contains a line break or control character; rename it")


def _require_distinct(classes: Sequence[str], where: str) -> None:
    for first, second in _pairs(classes, _looks):
        raise UserError(
            f"{where}: {first!r} and {second!r} differ only in case, Unicode form or invisible characters; correct "
            "one, or list both in data.table.classes if they are two classes"
        )


def _looks(name: str) -> str:
    """A name as a reader sees it, without regard to case."""
    shown = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in shown if unicodedata.category(character) != "Cf")


def _pairs(classes: Sequence[str], key: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """The pairs of names that have the same key."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(key(name), name)
        if other != name:
            yield other, name
