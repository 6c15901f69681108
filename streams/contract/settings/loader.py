"""Loading of the settings: a TOML file, environment variables over it, and the errors in either."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from streams.contract.errors import ConfigurationError
from streams.contract.settings.policies import POLICY_TYPES, Policy
from streams.contract.settings.sections import Section, plain_addresses
from streams.contract.settings.targets import DEFAULT_TARGETS, Target
from streams.contract.settings.tree import Settings, check_settings

_PREFIX: Final = "HEADRACE_"
_SCALARS: Final = frozenset(
    field.name for field in msgspec.structs.fields(Settings) if not isinstance(field.default, (Section, tuple))
)
"""Keys outside of the sections."""
_REQUIRED_OF_TARGETS: Final = [field.name for field in msgspec.structs.fields(Target) if field.required]


def load_settings(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings.

    Args:
        path: A TOML file; without one the defaults hold.
        environment: ``HEADRACE_<SECTION>__<KEY>`` overrides a key, with a TOML value or a bare string, and
            ``HEADRACE_<KEY>`` one outside of the sections; ``KAFKA_BOOTSTRAP_SERVERS`` sets the broker, as everywhere.

    Raises:
        ConfigurationError: The file cannot be read, a key is unknown (the nearest known one is named), a value is of
            the wrong type or range, or the values do not fit together.

    >>> load_settings(environment={"HEADRACE_KAFKA__PARTITIONS": "8"}).kafka.partitions
    8
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"{path}: {error}") from error
    _override(tree, environment or {})
    _list_targets(tree)
    _refuse_unknown(tree, Settings, "")
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        complaint, _, key = str(error).partition(" - at `$.")
        key = key.removesuffix("`")
        raise ConfigurationError(f"{key}: {complaint}{_allowed(key)}") from error
    check_settings(settings)
    kafka = msgspec.structs.replace(settings.kafka, bootstrap_servers=plain_addresses(settings.kafka))
    return msgspec.structs.replace(settings, kafka=kafka)


def dump_settings(settings: Settings) -> dict[str, Any]:
    """Turns the settings into plain values to display, with secrets blanked."""
    tree: dict[str, Any] = msgspec.to_builtins(settings)
    if tree["kafka"]["sasl_password"]:
        tree["kafka"]["sasl_password"] = "***"
    return tree


def _override(tree: dict[str, Any], environment: Mapping[str, str]) -> None:
    if servers := environment.get("KAFKA_BOOTSTRAP_SERVERS"):
        tree.setdefault("kafka", {})["bootstrap_servers"] = servers
    for name in sorted(environment):
        if not name.startswith(_PREFIX):
            continue
        section, separator, key = name.removeprefix(_PREFIX).lower().partition("__")
        if not separator:
            # Others share the prefix: HEADRACE_CONFIG names the file.
            if section in _SCALARS:
                tree[section] = _parse(environment[name])
            continue
        if section not in Settings.__struct_fields__:
            raise ConfigurationError(f"{name}: there is no section {section!r}{_nearest(section, Settings)}")
        target = tree.setdefault(section, {})
        if not isinstance(target, dict):
            raise ConfigurationError(f"{name}: {section} is a list; set it in the file")
        target[key] = _parse(environment[name])


def _list_targets(tree: dict[str, Any]) -> None:
    """Turns tables ``[targets.NAME]`` into the list of targets: they change default targets, and add others to them."""
    named = tree.get("targets")
    if not isinstance(named, dict):
        return
    listed: dict[str, dict[str, Any]] = {target.name: msgspec.to_builtins(target) for target in DEFAULT_TARGETS}
    for name, entry in named.items():
        if not isinstance(entry, dict):
            raise ConfigurationError(f"targets.{name} is not a table")
        if entry.get("name", name) != name:
            raise ConfigurationError(f"targets.{name}.name is {entry['name']!r}; leave it out: the table has the name")
        _refuse_unknown(entry, Target, f"targets.{name}.")
        listed[name] = {**listed.get(name, {}), **entry, "name": name}
        if missing := [field for field in _REQUIRED_OF_TARGETS if field not in listed[name]]:
            raise ConfigurationError(f"targets.{name}.{missing[0]} is missing")
    tree["targets"] = list(listed.values())


def _parse(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _refuse_unknown(tree: Mapping[str, Any], section: type[msgspec.Struct], path: str) -> None:
    types = {field.name: field.type for field in msgspec.structs.fields(section)}
    for key, value in tree.items():
        if key not in types:
            raise ConfigurationError(f"unknown key {path}{key}{_nearest(key, section)}")
        inner = types[key]
        if get_origin(inner) is tuple and isinstance(value, list):
            element = get_args(inner)[0]
            for number, entry in enumerate(value):
                if isinstance(element, type) and issubclass(element, msgspec.Struct) and isinstance(entry, dict):
                    _refuse_unknown(entry, element, f"{path}{key}[{number}].")
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct) and isinstance(value, dict):
            _refuse_unknown(value, inner, f"{path}{key}.")
        elif inner == dict[str, Policy] and isinstance(value, dict):
            for name, entry in value.items():
                _refuse_unknown_policy(entry, f"{path}{key}.{name}")


def _refuse_unknown_policy(entry: Any, path: str) -> None:
    if not isinstance(entry, dict):
        raise ConfigurationError(f"{path} is not a table")
    kind = entry.get("kind")
    if kind not in POLICY_TYPES:
        found = "is missing" if kind is None else f"is {kind!r}"
        raise ConfigurationError(f"{path}.kind {found}; known: {', '.join(POLICY_TYPES)}")
    _refuse_unknown({key: value for key, value in entry.items() if key != "kind"}, POLICY_TYPES[kind], f"{path}.")
    try:
        msgspec.convert(entry, POLICY_TYPES[kind])
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _allowed(key: str) -> str:
    """Lists the values of a key of a section that takes only a few."""
    type_: Any = Settings
    for name in key.split("."):
        fields = msgspec.structs.fields(type_) if isinstance(type_, type) and issubclass(type_, msgspec.Struct) else ()
        type_ = next((field.type for field in fields if field.name == name), None)
    return f"; allowed: {', '.join(get_args(type_))}" if get_origin(type_) is Literal else ""


def _nearest(key: str, section: type[msgspec.Struct]) -> str:
    near = difflib.get_close_matches(key, section.__struct_fields__, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?" if near else ""
