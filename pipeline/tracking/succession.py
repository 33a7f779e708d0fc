"""Who is champion, and who was before: an alias, and a tag of the registered model that lists the champions in order.

Each change is two writes, of which a kill may leave the first alone; `settled` tells from tag and alias what holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.common.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
CHAMPIONS = "roskd.champions"
"""The tag: version numbers, joined by commas, the present champion last."""
REMEMBERED = 1000
"""Champions that the tag keeps; the oldest are dropped first."""


def settled(champions: Sequence[str], alias: str) -> list[str]:
    """Return the champions in order, the present one last, from the tag and the alias ("" where there is none).

    The alias is right. Where it is the last but one of the tag, a promotion or a rollback was cut short between its
    two writes; where it is any other version, a person moved it.
    """
    known = list(champions)
    if not alias or known[-1:] == [alias]:
        return known
    return known[:-1] if known[-2:-1] == [alias] else [*known, alias]


@dataclass(frozen=True)
class Succession:
    """The champions of one registered model. Hold the store's lock (`exclusive`) from reading to changing them."""

    client: "MlflowClient"
    name: str

    def aliases(self) -> dict[str, str]:
        """Return {alias: version}."""
        aliases = self.client.get_registered_model(self.name).aliases
        return {alias: str(version) for alias, version in aliases.items()}

    def champion(self) -> str:
        """The present champion's version; "" where there is none."""
        return self.aliases().get(CHAMPION, "")

    def champions(self) -> list[str]:
        """Return every champion in order, the present one last."""
        model = self.client.get_registered_model(self.name)
        listed = [version for version in str(model.tags.get(CHAMPIONS, "")).split(",") if version]
        return settled(listed, str(model.aliases.get(CHAMPION, "")))

    def crown(self, version: str) -> None:
        """Make a version the champion; the one before it stays in the list."""
        before = self.champions()
        if before[-1:] != [version]:
            self._keep([*before, version])
        self.client.set_registered_model_alias(self.name, CHAMPION, version)

    def predecessor(self) -> str:
        """Return the version that `restore` would make champion; versions deleted since are passed over.

        Raises UserError where there is none.
        """
        return self._before()[-1]

    def restore(self) -> str:
        """Make the champion before the present one champion again, and forget the present one; returns its version.

        Raises UserError where there was none.
        """
        left = self._before()
        self.client.set_registered_model_alias(self.name, CHAMPION, left[-1])
        self._keep(left)
        return left[-1]

    def _before(self) -> list[str]:
        champions, present = self.champions(), self.champion()
        there = {str(one.version) for one in self.client.search_model_versions(f"name = '{self.name}'")}
        left = champions[:-1] if present else champions
        while left and (left[-1] not in there or left[-1] == present):
            left.pop()
        if not left:
            held = f"version {present} is its first champion" if present else "it has had no champion"
            raise UserError(
                f"registered model {self.name}: nothing to roll back to, {held}. `python -m pipeline.registry promote "
                "VERSION` makes another version champion"
            )
        return left

    def _keep(self, champions: Sequence[str]) -> None:
        self.client.set_registered_model_tag(self.name, CHAMPIONS, ",".join(champions[-REMEMBERED:]))
