"""What a person does with the registered model: see its versions, promote one, go back to the champion before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline.tracking.connection import exclusive, plain_errors, tracking_uri
from pipeline.tracking.fetch import find_version, open_store, require_model
from pipeline.tracking.registry import OUTCOME, REASON, note
from pipeline.tracking.succession import Succession

if TYPE_CHECKING:
    from mlflow import MlflowClient

BY_HAND, ROLLED_BACK = "by hand", "rolled back"


@dataclass(frozen=True)
class Change:
    """The champion before and after ("" where there is none); `made` is False for a dry run and where they agree."""

    model: str
    before: str
    after: str
    made: bool

    def __str__(self) -> str:
        if self.before == self.after:
            return f"{self.model}: version {self.after} is the champion already"
        was = f"version {self.before}" if self.before else "none"
        would = "is" if self.made else "would be"
        return f"{self.model}: version {self.after} {would} champion (before: {was})"


def listed(name: str) -> list[dict[str, str]]:
    """Return a row for each version, the newest first: version, aliases, made, method, figures on validation, why.

    Raises UserError where there is no such model.
    """
    client = open_store()
    require_model(client, name)
    with plain_errors(tracking_uri()), exclusive(tracking_uri()):
        succession = Succession(client, name)
        aliases, champions = succession.aliases(), succession.champions()
        versions = client.search_model_versions(f"name = '{name}'")
    rows = []
    for one in sorted(versions, key=lambda one: -int(one.version)):
        version = str(one.version)
        held = sorted(alias for alias, holder in aliases.items() if holder == version)
        was = f"champion {champions.index(version) + 1} of {len(champions)}" if version in champions else ""
        rows.append(
            {
                "version": version,
                "aliases": ", ".join(held),
                "order": was,
                "made": datetime.fromtimestamp(one.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
                "method": one.tags.get("method", ""),
                "val": _figure(one.tags),
                "why": f"{one.tags.get(OUTCOME, '')}: {one.tags.get(REASON, '')}".strip(": "),
            }
        )
    return rows


def promote(name: str, which: str, why: str = "", *, dry_run: bool = False) -> Change:
    """Make a version, by number or alias, the champion whatever its figures. Raises UserError where there is none."""
    client = open_store()
    require_model(client, name)
    version = find_version(client, name, which)
    with plain_errors(tracking_uri()), exclusive(tracking_uri()):
        succession = Succession(client, name)
        before = succession.champion()
        made = not dry_run and before != version
        if made:
            _write(client, name, version, BY_HAND, why or f"promoted by hand; the champion was {before or 'none'}")
            succession.crown(version)
    return Change(name, before, version, made)


def rollback(name: str, why: str = "", *, dry_run: bool = False) -> Change:
    """Make the champion before the present one champion again. Raises UserError where there is none."""
    client = open_store()
    require_model(client, name)
    with plain_errors(tracking_uri()), exclusive(tracking_uri()):
        succession = Succession(client, name)
        before, after = succession.champion(), succession.predecessor()
        if not dry_run:
            if before:
                _write(client, name, before, ROLLED_BACK, why or f"rolled back to version {after}")
            succession.restore()
    return Change(name, before, after, not dry_run)


def table(rows: Sequence[dict[str, str]]) -> str:
    """Lay rows out in columns; the last one is as long as it is."""
    names = list(rows[0])
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    lines = [{name: name for name in names}, *rows]
    return "\n".join("  ".join(line[name].ljust(widths[name]) for name in names).rstrip() for line in lines)


def _write(client: "MlflowClient", name: str, version: str, outcome: str, why: str) -> None:
    """Say in a version's tags and description what becomes of it, before it does."""
    reason = f"{why} ({datetime.now(UTC):%Y-%m-%d %H:%M} UTC)"
    tags = client.get_model_version(name, version).tags
    client.update_model_version(name, version, note(outcome, reason, tags))
    for key, value in ((OUTCOME, outcome), (REASON, reason)):
        client.set_model_version_tag(name, version, key, value)


def _figure(tags: dict[str, str]) -> str:
    metric = "val/auroc_macro" if tags.get("task") == "multilabel" else "val/f1_macro"
    if metric not in tags:
        return ""
    return f"{metric.removeprefix('val/')} {float(tags[metric]):.3f} ({tags.get(f'{metric}.interval', 'no interval')})"
