"""Copy the jars that a pom.xml names into a directory, for where Maven is missing: fetch.py POM DIRECTORY."""

import shutil
import sys
from pathlib import Path

from jgo.maven import POM, MavenContext


def fetch(pom: Path, directory: Path) -> None:
    """Resolve the dependencies of `pom`, transitive ones too, and copy them to `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    context = MavenContext(timeout=60)
    _, nodes = context.pom_dependency_list(POM(pom))
    for node in nodes:
        artifact = node.dep.artifact
        shutil.copy(artifact.resolve(), directory / artifact.filename)


if __name__ == "__main__":
    fetch(Path(sys.argv[1]), Path(sys.argv[2]))
