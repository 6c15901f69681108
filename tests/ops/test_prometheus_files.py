"""The dashboard and the rules name metrics that are there, and Prometheus' own tool takes them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from streams.observability.exposition import EXPOSED
from streams.serving.metrics import DoorMetrics
from tests.timeouts import HANG_S

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy/prometheus"
RULES: Final[list[dict[str, Any]]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text("utf-8"))["groups"] for rule in group["rules"]
]
ALERTS: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED: Final = {rule["record"]: rule["expr"] for rule in RULES if "record" in rule}
TESTS: Final = yaml.safe_load((FOLDER / "rules_test.yml").read_text("utf-8"))["tests"]
DASHBOARD: Final = json.loads((ROOT / "deploy/grafana/headrace.json").read_text("utf-8"))
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS: Final = {"up", "ALERTS"}

_KEYWORDS: Final = {"and", "or", "unless", "bool", "offset", "inf", "nan"}
_LISTS: Final = r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"


def names_in(expression: str) -> set[str]:
    """Lists the metrics of a PromQL expression: the names that are no function, label, duration or keyword.

    >>> sorted(names_in('sum by (policy) (rate(a_total{x="up(b)"}[5m])) / on (le) c:d > 1 or e offset 10m'))
    ['a_total', 'c:d', 'e']
    """
    bare = re.sub(r'"[^"]*"|\'[^\']*\'', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(_LISTS, " ", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\w*\s*\()", bare)
    aggregated = re.findall(r"\b(\w+)\s+\(", bare)
    return {name for name in found if name.lower() not in _KEYWORDS and name not in aggregated}


def labels_in(expression: str) -> Iterator[tuple[str, str]]:
    """Yields each metric with each label that its matcher names."""
    for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", expression):
        yield from ((name, label) for label in re.findall(r"(\w+)\s*[=!]~?", re.sub(r'"[^"]*"', "", matchers)))


def samples_of(*collectors: Collector) -> set[str]:
    return {sample.name for collector in collectors for family in collector.collect() for sample in family.samples}


def exposed() -> dict[str, set[str]]:
    """Returns the names that a query may have, each with its labels."""
    names: dict[str, set[str]] = {}
    for each in EXPOSED:
        ends = ("_bucket", "_sum", "_count") if each.kind == "histogram" else ("",)
        names |= {each.name + end: {*each.labels, *(("le",) if end == "_bucket" else ())} for end in ends}
    for metric in vars(DoorMetrics()).values():
        if not isinstance(metric, CollectorRegistry) and hasattr(metric, "_labelnames"):
            [family] = metric.collect()
            names[f"{family.name}_total" if family.type == "counter" else family.name] = set(metric._labelnames)
    of_process = samples_of(ProcessCollector(registry=None), PlatformCollector(registry=None))
    return names | {name: set() for name in of_process}


EXPRESSIONS: Final = {
    **RECORDED,
    **{name: rule["expr"] for name, rule in ALERTS.items()},
    **{f"{panel['title']}, {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}


@pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_an_expression_names_only_metrics_that_are_exposed_or_recorded(expression: str) -> None:
    names = exposed()
    used = names_in(expression)
    assert used
    assert used - names.keys() - RECORDED.keys() - OF_PROMETHEUS == set()
    for name, label in labels_in(expression):
        if name in names:
            assert label in names[name] | {"job", "instance"}, name


def test_every_series_of_the_rules_tests_is_one_that_is_exposed() -> None:
    names = exposed()
    series = [each["series"] for test in TESTS for each in test["input_series"]]
    assert {name for each in series for name in names_in(each)} - names.keys() - OF_PROMETHEUS == set()
    for each in series:
        for name, label in labels_in(each):
            assert label in names.get(name, {"job"}) | {"job", "instance"}, each


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("absent(headrace_healthy)", {"headrace_healthy"}),
        ("sum(rate(a[5m])) by (le) and b", {"a", "b"}),
        ('scalar(max(a{b="c d(e)"})) - max by (learner) (f)', {"a", "f"}),
        ("a > 1000 and deriv(b:c[15m]) > 0", {"a", "b:c"}),
        ("histogram_quantile(0.99, sum by (topic, le) (rate(a_bucket[$__rate_interval])))", {"a_bucket"}),
        ("a / on (x) group_left (y) b offset 10m", {"a", "b"}),
    ],
)
def test_the_names_of_an_expression_are_found(expression: str, names: set[str]) -> None:
    assert names_in(expression) == names


def test_every_alert_has_its_entry_in_the_runbook_and_no_other_has() -> None:
    runbook = (ROOT / "docs/how-to/runbook.md").read_text("utf-8")
    entries = runbook.partition("## Alerts\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (.+)$", entries, re.MULTILINE)) == sorted(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/how-to/runbook.md#{name.lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_every_alert_fires_in_a_test_and_every_recording_rule_is_read_in_one() -> None:
    asked = [each for test in TESTS for each in test["promql_expr_test"]]
    fired = {
        label
        for each in asked
        for sample in each.get("exp_samples", ())
        for label in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == set(ALERTS)
    read = {name for each in asked for name in names_in(each["expr"])}
    for rule in RULES:
        if "alert" in rule or rule["record"] in read:
            read |= names_in(rule["expr"])
    assert set(RECORDED) - read == set()


def test_the_dashboard_asks_the_data_source_that_is_chosen() -> None:
    [variable] = DASHBOARD["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == ("datasource", "datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    for panel in PANELS:
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
        assert panel["description"].endswith(".")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_of_the_dashboard_lies_on_another() -> None:
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.fixture
def promtool() -> str:
    if found := shutil.which("promtool"):
        return found
    pytest.skip("no promtool: install Prometheus (Debian: apt-get install prometheus)")


def checked(promtool: str, *arguments: str) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=HANG_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "command",
    [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml"), ("check", "config", "prometheus.yml")],
)
def test_prometheus_takes_what_is_deployed(promtool: str, command: tuple[str, str, str]) -> None:
    *words, file = command
    checked(promtool, *words, str(FOLDER / file))


@pytest.mark.prometheus
def test_prometheus_understands_every_expression_of_the_dashboard(promtool: str, tmp_path: Path) -> None:
    expressions = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
        for number, expression in enumerate(expressions)
    ]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked(promtool, "check", "rules", str(tmp_path / "rules.yml"))
