"""The private names of Faust and aiokafka that the engine relies on are there, and there are no others."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest

import streams.engine
from streams.engine.faust_internals import FAUST_VERSION, INTERNALS, Internal

MODULES = [
    importlib.import_module(f"streams.engine.{module.name}") for module in pkgutil.iter_modules(streams.engine.__path__)
]
FOREIGN = ("faust", "aiokafka", "mode")


def has(owner: type[Any], name: str) -> bool:
    """Says whether a class has the attribute, or sets it when it is made."""
    made = (vars(base)["__init__"] for base in owner.__mro__ if inspect.isfunction(vars(base).get("__init__")))
    return hasattr(owner, name) or any(name in function.__code__.co_names for function in made)


@pytest.mark.parametrize("internal", INTERNALS, ids=lambda internal: f"{internal.owner.__qualname__}.{internal.name}")
def test_every_private_name_that_the_engine_touches_is_there(internal: Internal) -> None:
    assert has(internal.owner, internal.name), (
        f"{internal.owner.__module__}.{internal.owner.__qualname__} has no {internal.name} any more ({internal.why}); "
        f"the engine was written for Faust {FAUST_VERSION}, this is {version('faust-streaming')}"
    )


def test_faust_is_of_the_version_that_was_read() -> None:
    assert version("faust-streaming") == FAUST_VERSION


def private_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name


def own_names(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            yield node.attr


def test_the_engine_touches_no_other_private_name() -> None:
    """Own private names are those that the engine's classes and modules make; all else must be listed."""
    listed = {internal.name for internal in INTERNALS}
    touched: set[str] = set()
    for module in MODULES:
        tree = ast.parse(inspect.getsource(module))
        own = set(own_names(tree))
        foreign = {
            name
            for kind in vars(module).values()
            if inspect.isclass(kind) and kind.__module__ == module.__name__
            for base in kind.__mro__
            if base.__module__.partition(".")[0] in FOREIGN
            for name in vars(base)
        }
        names = {name for name in private_names(tree) if name.startswith("_") and not name.startswith("__")}
        touched |= {name for name in names if name not in own or name in foreign}
    assert touched - {"_exit", "_PARTITION_EOF", "_FENCED", "_MAX_KINDS"} == listed
