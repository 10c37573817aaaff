"""What deploy/Dockerfile says, stage by stage."""

import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["DOCKERFILE", "REPOSITORY", "Stage", "Step", "environment", "lineage", "read_stages"]

REPOSITORY = Path(__file__).parents[1]

DOCKERFILE = REPOSITORY / "deploy" / "Dockerfile"


@dataclass(frozen=True)
class Step:
    """One instruction; flags such as `--from=build` are apart."""

    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The words of its text."""
        return shlex.split(self.text)

    @property
    def exec_form(self) -> list[str]:
        """The command in JSON; raises `ValueError` where it would go through a shell."""
        words: list[str] = json.loads(self.text.removeprefix("CMD").strip())
        return words


@dataclass
class Stage:
    """One `FROM`, with what follows it."""

    name: str
    parent: str
    steps: list[Step] = field(default_factory=list)

    def all(self, name: str) -> list[Step]:
        """Every instruction of a name, in order."""
        return [step for step in self.steps if step.name == name]


def read_stages(path: Path = DOCKERFILE) -> dict[str, Stage]:
    """Return the stages by name, in order; what comes before the first belongs to none."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    stages: dict[str, Stage] = {}
    stage = Stage("", "")
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        if not name:
            continue
        flags = {}
        while found := re.match(r"\s*--([\w-]+)=(\S+)\s*", rest):
            flags[found[1]] = found[2]
            rest = rest[found.end() :]
        if name == "FROM":
            parent, _, own = rest.split()
            stage = stages[own] = Stage(own, parent)
        else:
            stage.steps.append(Step(name, flags, rest.strip()))
    return stages


def lineage(stages: dict[str, Stage], name: str) -> list[Stage]:
    """Return a stage and those that it is made from, the first one first."""
    line = []
    while name in stages:
        line.append(stages[name])
        name = stages[name].parent
    return line[::-1]


def environment(stages: dict[str, Stage], name: str) -> dict[str, str]:
    """Return the variables that an image sets, those of its parents included."""
    variables: dict[str, str] = {}
    for stage in lineage(stages, name):
        for step in stage.all("ENV"):
            variables |= dict(word.split("=", 1) for word in step.words)
    return variables
