"""Holds deploy/kubernetes against the schemas of Kubernetes itself: `make manifests`.

The schemas are large and nothing else needs them, so they are installed aside, once, by
deploy/tools.lock. KEDA's own kinds have no schema there; tests/deploy looks at those.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
TOOLS = PROJECT / ".tools"
LOCK = PROJECT / "deploy" / "tools.lock"
#: The oldest and the newest that are supported.
VERSIONS = ("1.31", "1.36")
ELSEWHERE = ("keda.sh/", "kustomize.config.k8s.io/")


def main() -> int:
    install()
    sys.path.insert(0, str(TOOLS))
    import kubernetes_validate
    import yaml

    count = 0
    for path in sorted((PROJECT / "deploy" / "kubernetes").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            if document["apiVersion"].startswith(ELSEWHERE):
                continue
            count += 1
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    name = f"{document['kind']} {document['metadata']['name']}"
                    where = ".".join(map(str, error.path))
                    print(f"{path.relative_to(PROJECT)}: {name}: {where}: {error.message}")
                    return 1
    print(f"{count} manifests are what Kubernetes {' and '.join(VERSIONS)} take")
    return 0


def install() -> None:
    """The validator beside the project, unless this very lock was installed before."""
    stamp = TOOLS / "tools.lock"
    if stamp.exists() and stamp.read_bytes() == LOCK.read_bytes():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--target", str(TOOLS), "--upgrade", "--require-hashes", "-r", str(LOCK)]
    subprocess.run(command, check=True)
    stamp.write_bytes(LOCK.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
