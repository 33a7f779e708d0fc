"""The repository's Dockerfile, read as the builder reads it."""

import json
import re
import shlex
from typing import NamedTuple

from tests.conftest import REPOSITORY


class Instruction(NamedTuple):
    """One instruction of a stage: its name, and what follows it."""

    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments: of the exec form (JSON), or as a shell splits them."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def read_stages() -> dict[str, list[Instruction]]:
    """Return the instructions of each stage, the first of them FROM."""
    text = re.sub(r"^\s*#.*\n", "", (REPOSITORY / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    stages: dict[str, list[Instruction]] = {}
    for line in lines:
        instruction = Instruction(*line.strip().split(maxsplit=1))
        if instruction.name == "FROM":
            current = stages.setdefault(instruction.text.split(" AS ")[1], [])
        current.append(instruction)
    return stages


def only(stage: list[Instruction], name: str) -> Instruction:
    """Return the one instruction of that name."""
    (found,) = [one for one in stage if one.name == name]
    return found
