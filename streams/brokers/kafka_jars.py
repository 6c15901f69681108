"""Jars of Apache Kafka from Maven Central, downloaded once: a real broker without Docker."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streams.contract.errors import RefusedStart

KAFKA_VERSION: Final = "4.4.0"

_DOWNLOAD_TIMEOUT_S: Final = 600.0
_POM: Final = f"""\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>headrace</groupId>
  <artifactId>broker</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""


def kafka_jars(environment: Mapping[str, str]) -> Path:
    """Returns the directory of the jars; downloads them the first time, about 43 MB.

    Raises:
        RefusedStart: Java is missing, or Maven is missing for the download, or the download failed.
    """
    if shutil.which("java") is None:
        raise RefusedStart("Apache Kafka needs Java 17 or newer, and there is no `java` (on Debian: openjdk-17-jre)")
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
    jars = cache / f"kafka-{KAFKA_VERSION}"
    if not jars.is_dir():
        maven = shutil.which("mvn")
        if maven is None:
            raise RefusedStart(f"there is no `mvn` to get the jars of Apache Kafka {KAFKA_VERSION} (on Debian: maven)")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="partial-", dir=cache) as folder:
            _download(maven, Path(folder))
            try:
                (Path(folder) / "jars").rename(jars)
            except OSError:
                # Another process was quicker; an incomplete directory never has this name.
                if not jars.is_dir():
                    raise
    return jars


def _download(maven: str, folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(_POM, "utf-8")
    done = subprocess.run(
        [
            maven, "--batch-mode", "--quiet", "--file", str(pom), "dependency:copy-dependencies",
            "-DincludeScope=runtime", f"-DoutputDirectory={folder / 'jars'}",
        ],
        capture_output=True,
        timeout=_DOWNLOAD_TIMEOUT_S,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()
        raise RefusedStart(f"Maven could not get Apache Kafka {KAFKA_VERSION}: {' '.join(said[:2])}")
