"""The ground holds: the locks lock, setup finds a Python, a skip is seen, and an import against the order is found."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path
from typing import Final

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytest_plugins = ["pytester"]

ROOT: Final = Path(__file__).parents[1]
PYPROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS: Final = ("requirements.lock", "requirements-dev.lock", "requirements-uv.lock")
PYTHONS: Final = ("3.11", "3.12", "3.13")


def pins(lock: str) -> list[Requirement]:
    """Reads the pinned requirements of a lock, without their hashes."""
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if re.match(r"[a-z0-9]", line)]


GROUPS: Final = {
    name: [each for each in group if isinstance(each, str)] for name, group in PYPROJECT["dependency-groups"].items()
}


def on(python: str, marker: Marker | None) -> bool:
    return marker is None or marker.evaluate({"python_version": python, "python_full_version": f"{python}.9"})


# Locks


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        ("requirements.lock", PYPROJECT["project"]["dependencies"] + GROUPS["build"]),
        ("requirements-dev.lock", PYPROJECT["project"]["dependencies"] + GROUPS["build"] + GROUPS["dev"]),
        ("requirements-uv.lock", GROUPS["installer"]),
    ],
)
def test_a_lock_pins_every_declared_dependency_once_for_each_python(
    lock: str, declared: list[str], python: str
) -> None:
    pinned = [pin for pin in pins(lock) if on(python, pin.marker)]
    assert len({pin.name for pin in pinned}) == len(pinned)
    versions = {pin.name: str(pin.specifier).removeprefix("==") for pin in pinned}
    for requirement in map(Requirement, declared):
        assert requirement.specifier.contains(versions[requirement.name.lower()]), requirement


def test_the_checkers_run_on_exactly_the_locked_program() -> None:
    assert {str(pin) for pin in pins("requirements.lock")} <= {str(pin) for pin in pins("requirements-dev.lock")}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_names_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z0-9])", text))


def test_the_build_backend_is_the_one_that_the_lock_brings() -> None:
    assert set(PYPROJECT["build-system"]["requires"]) <= set(GROUPS["build"])


def test_every_library_that_the_program_imports_is_declared() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    declared = {Requirement(each).name for each in chain(PYPROJECT["project"]["dependencies"], *extras)}
    distributions = packages_distributions()
    for source in [*ROOT.glob("streams/**/*.py"), *ROOT.glob("producers/**/*.py")]:
        for node in ast.walk(ast.parse(source.read_bytes())):
            match node:
                case ast.Import():
                    modules = {alias.name for alias in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    modules = {module}
                case _:
                    continue
            libraries = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
            for library in libraries - {"streams", "producers"}:
                found = map(canonicalize_name, distributions[library])
                assert declared.intersection(found), f"{source}: {library}"


def test_a_wheel_brings_the_two_packages_with_their_types_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [wheel] = tmp_path.iterdir()
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"streams", "producers"}
    assert {"streams/py.typed", "producers/py.typed", "streams/testing/__init__.py"} <= names


# make setup

_FAILING_SHIM: Final = "#!/bin/sh\necho 'shim: command not found' >&2\nexit 127\n"
_PYTHON: Final = """#!/bin/sh
echo "$0 $*" >> "$LOG"
case "$1 $2" in
  "--version ") echo Python 3.11.9 ;;
  "-m venv") mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
esac
"""


class Checkout:
    """A folder with what ``make setup`` reads, and interpreters of the test's making as the only ones on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder.parent / "log"
        self.bin = folder.parent / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        for name in ("Makefile", "pyproject.toml", *LOCKS):
            shutil.copy(ROOT / name, folder)
        for tool in ("cp", "echo", "mkdir", "sh", "touch"):
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def interpreter(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script, "utf-8")
        (self.bin / name).chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(shutil.which("make")), *arguments],
            cwd=self.folder,
            env={"PATH": str(self.bin), "LOG": str(self.log)},
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self) -> list[str]:
        return self.log.read_text("utf-8").splitlines() if self.log.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a folder")


def test_setup_takes_the_newest_python_that_runs_and_passes_over_shims_silently(checkout: Checkout) -> None:
    for name in ("python3.13", "python3.12"):
        checkout.interpreter(name, _FAILING_SHIM)
    for name in ("python3.11", "python3"):
        checkout.interpreter(name, _PYTHON)
    result = checkout.make("setup")
    assert (result.returncode, result.stderr) == (0, "")
    assert [call for call in checkout.calls() if "-m venv" in call] == [
        f"{checkout.bin}/python3.11 -m venv --clear .venv"
    ]


def test_setup_runs_again_only_when_the_project_or_a_lock_changes(checkout: Checkout) -> None:
    checkout.interpreter("python3", _PYTHON)
    checkout.make("setup")
    once = len(checkout.calls())
    assert checkout.make("setup").stdout.endswith("Nothing to be done for 'setup'.\n")
    assert len(checkout.calls()) == once
    stamp_ns = (checkout.folder / ".venv/.headrace-setup").stat().st_mtime_ns
    os.utime(checkout.folder / "requirements-dev.lock", ns=(stamp_ns + 10**9, stamp_ns + 10**9))
    checkout.make("setup")
    again = checkout.calls()[once:]
    assert any("pip install" in call for call in again)
    assert not any("-m venv" in call for call in again)


def test_a_demo_installs_what_it_runs_on_and_setup_adds_the_rest(checkout: Checkout) -> None:
    checkout.interpreter("python3", _PYTHON)
    checkout.make(".venv/.headrace-run")
    run = checkout.calls()
    assert any("-m uv pip install" in call and call.endswith("--require-hashes -r requirements.lock") for call in run)
    assert run[-1].endswith("--no-deps --no-build-isolation -e .")
    assert not any("requirements-dev.lock" in call for call in run)
    assert checkout.make("--dry-run", "demo").stdout == ".venv/bin/headrace demo \n"
    checkout.make("setup")
    [rest] = checkout.calls()[len(run) :]
    assert rest.endswith("--require-hashes -r requirements-dev.lock")


def test_pip_does_what_uv_cannot_and_says_so_in_one_line(checkout: Checkout) -> None:
    checkout.interpreter("python3", _PYTHON + 'case "$2" in uv) echo broken >&2; exit 1;; esac\n')
    result = checkout.make(".venv/.headrace-run")
    assert (result.returncode, result.stderr.count("\n"), "broken" in result.stderr) == (0, 1, False)
    [install] = [call for call in checkout.calls() if "-m pip" in call and "-r requirements.lock" in call]
    assert "--require-hashes" in install


def test_setup_without_a_usable_python_says_so_in_one_line(checkout: Checkout) -> None:
    checkout.interpreter("python3.12", _FAILING_SHIM)
    result = checkout.make("setup")
    assert result.returncode != 0
    [line] = [line for line in result.stderr.splitlines() if not line.startswith("make: ***")]
    assert "3.11, 3.12 or 3.13" in line
    assert not (checkout.folder / ".venv").exists()


def test_a_named_python_is_the_only_one_tried(checkout: Checkout) -> None:
    checkout.interpreter("python3.13", _PYTHON)
    assert checkout.make("setup", "PYTHON=python3.9").returncode != 0
    assert checkout.calls() == []


# Skips

_SKIPS: Final = """
import pytest

def test_runs(): pass
@pytest.mark.xfail
def test_is_known_to_fail(): assert False
@pytest.mark.kafka
def test_needs_kafka(): pytest.skip("no broker")
@pytest.mark.node
def test_needs_node(): pytest.skip("no node")
@pytest.mark.data
def test_needs_data(): pytest.skip("no data")
def test_needs_nothing(): pytest.skip("no time")
"""


@pytest.fixture
def guarded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder of tests under this project's conftest, where nothing is required."""
    for name in ("HEADRACE_REQUIRE_KAFKA", "HEADRACE_REQUIRE_NODE", "HEADRACE_REQUIRE_DATA"):
        monkeypatch.delenv(name, raising=False)
    pytester.makeconftest((ROOT / "tests/conftest.py").read_text("utf-8"))
    pytester.makeini("[pytest]\nmarkers =\n  broker\n  kafka\n  node\n  data\naddopts = -p no:unraisableexception")
    return pytester


@pytest.mark.parametrize(
    ("variable", "failed"),
    [
        (None, ["test_needs_nothing"]),
        ("HEADRACE_REQUIRE_KAFKA", ["test_needs_nothing", "test_needs_kafka"]),
        ("HEADRACE_REQUIRE_NODE", ["test_needs_nothing", "test_needs_node"]),
        ("HEADRACE_REQUIRE_DATA", ["test_needs_nothing", "test_needs_data"]),
    ],
)
def test_a_skip_fails_unless_its_mark_excuses_it(
    guarded: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, variable: str | None, failed: list[str]
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    guarded.makepyfile(_SKIPS)
    result = guarded.runpytest_inprocess()
    result.assert_outcomes(passed=1, xfailed=1, failed=len(failed), skipped=4 - len(failed))
    result.stdout.fnmatch_lines_random([f"FAILED *::{name} *" for name in failed])


def test_a_module_cannot_skip_itself(guarded: pytest.Pytester) -> None:
    guarded.makepyfile("import pytest\npytest.importorskip('no_such_library')\ndef test_is_never_seen(): pass")
    guarded.runpytest_inprocess().assert_outcomes(errors=1)


# Import contracts


VIOLATIONS: Final = [
    ("streams/core/__init__.py", "import time", "contract, core and laboratory do no input"),
    ("streams/contract/topics.py", "import os", "contract, core and laboratory do no input"),
    ("streams/core/features/__init__.py", "import streams.core.policies", "inside the core"),
    ("streams/core/retrieval/__init__.py", "import streams.engine", "rooms"),
    ("streams/contract/arrays.py", "import streams.contract.settings", "inside the contract"),
    ("streams/engine/__init__.py", "import producers.replay", "a worker knows no producer"),
    ("streams/testing/topics.py", "import streams.agents", "rooms"),
    ("streams/agents/__init__.py", "import rocksdict", "only the engine touches"),
    ("streams/agents/__init__.py", "import streams.admin", "rooms"),
    ("streams/observability/metrics_reporter.py", "import streams.app", "rooms"),
    ("streams/core/behaviour/row.py", "import streams.core.behaviour.labels", "inside the Behaviour fold"),
    ("producers/replay/__init__.py", "import streams.core", "producers know the contract only"),
    ("producers/publisher.py", "import producers.simulator", "inside the producers"),
]


def lint_imports(root: Path) -> dict[str, str]:
    """Runs the import contracts in ``root`` and returns what each broken one reports."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    report = result.stdout.partition("Broken contracts")[2]
    return dict(re.findall(r"^(\S.*)\n-{3,}\n((?s:.*?))(?=^\S.*\n-{3,}\n|\Z)", report, re.MULTILINE))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the program that a test may spoil."""
    for package in ("streams", "producers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_an_import_against_the_order_breaks_its_contract(tree: Path) -> None:
    for module, statement, _ in VIOLATIONS:
        with (tree / module).open("a", encoding="utf-8") as source:
            source.write(f"\n{statement}\n")
    broken = lint_imports(tree)
    for module, statement, contract in VIOLATIONS:
        importer = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        [report] = [text for name, text in broken.items() if name.startswith(contract)]
        assert f"{importer} -> {statement.removeprefix('import ')} " in report


def test_a_module_without_a_place_in_the_order_breaks_it(tree: Path) -> None:
    for package in ("streams", "streams/contract", "streams/core", "producers"):
        (tree / package / "surprise.py").touch()
    assert sum(text.count(".surprise") for text in lint_imports(tree).values()) == 4


# Sums


def test_the_core_adds_with_sums_alone() -> None:
    """The builtin ``sum`` of floats differs between versions of Python; mypy keeps floats from ``int_sum``."""
    found = {
        source.relative_to(ROOT).as_posix()
        for source in ROOT.glob("streams/core/**/*.py")
        for node in ast.walk(ast.parse(source.read_bytes()))
        if isinstance(node, ast.Name) and node.id in {"sum", "fsum", "sumprod"}
    }
    assert found == {"streams/core/sums.py"}
