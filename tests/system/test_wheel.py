"""The wheel, installed where nothing of this folder can be imported, brings all that the demo needs."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.system.cluster import ROOT
from tests.timeouts import HANG_S


def test_a_wheel_in_a_clean_environment_runs_the_demo_to_its_end(tmp_path: Path) -> None:
    clean, wheels = tmp_path / "clean", tmp_path / "wheels"
    venv.create(clean, symlinks=True)
    python = str(clean / "bin/python")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HEADRACE_", "KAFKA_", "PYTHON"))
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANG_S, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    [wheel] = wheels.iterdir()
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", str(wheel))
    # The locked libraries are those of this environment. Its own .pth files are not read there, so that the editable
    # install of this folder stays out.
    [packages] = clean.glob("lib/python*/site-packages")
    libraries = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    (packages / "libraries.pth").write_text("\n".join(sorted(libraries)) + "\n", "utf-8")

    found = run(python, "-c", "import producers, streams; print(*streams.__path__, *producers.__path__)")
    assert found.split() == [str(packages / "streams"), str(packages / "producers")]
    said = run(str(clean / "bin/headrace"), "demo", "--events", "2000", "--seed", "7", "--headless")
    assert "2,004 events published = " in said
