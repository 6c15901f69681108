"""Settings come from one file and the environment; what is wrong is named, and nothing is guessed."""

import tomllib
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.contract.errors import ConfigurationError
from streams.contract.settings import Decisions, Settings, dump_settings, load_settings
from streams.contract.settings.policies import LinUCB, SquareCB, Thompson, Uniform, learner_of
from streams.contract.topics import EXAMPLES

TARGET = "[[targets]]\nname = 'x'\nhorizon_s = 1\nsampling_rate = 1.0\nprior = 0.1\n"


def load(tmp_path: Path, text: str, **environment: str) -> Settings:
    path = tmp_path / "headrace.toml"
    path.write_text(text, "utf-8")
    return load_settings(path, environment)


def test_without_a_file_the_defaults_hold() -> None:
    assert load_settings() == load_settings(environment={"PATH": "/bin", "HEADRACE_HOME": "x"}) == Settings()


def test_a_file_sets_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    settings = load(tmp_path, "seed = 7\n[kafka]\npartitions = 12\n[time]\nsession_gap_s = 60\n")
    assert (settings.seed, settings.kafka.partitions, settings.time.session_gap_s) == (7, 12, 60.0)
    assert settings.engine == Settings().engine
    assert settings.kafka.bootstrap_servers == Settings().kafka.bootstrap_servers


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        "[kafka]\npartitions = 12\nbootstrap_servers = 'a:1'\n[decisions]\nslate = 3\n",
        HEADRACE_KAFKA__PARTITIONS="8",
        KAFKA_BOOTSTRAP_SERVERS="b:2",
        HEADRACE_DECISIONS__SALT="summer",
        HEADRACE_DECISIONS__SHARES="{random = 0.5, bandit = 0.5}",
        HEADRACE_TIME__ALLOWED_LATENESS_S="1.5",
    )
    assert settings.kafka.partitions == 8
    assert settings.kafka.bootstrap_servers == "b:2"
    assert settings.decisions.slate == 3
    assert settings.decisions.salt == "summer"
    assert settings.decisions.shares == {"random": 0.5, "bandit": 0.5}
    assert settings.time.allowed_lateness_s == 1.5


def test_the_projects_own_variable_wins_over_kafkas() -> None:
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "a:1", "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": "b:2"}
    assert load_settings(environment=environment).kafka.bootstrap_servers == "b:2"


def test_a_named_target_changes_a_default_one_or_is_added_and_a_list_replaces_all(tmp_path: Path) -> None:
    added = "[targets.churn]\nrule = 'churn'\nhorizon_s = 86400\nsampling_rate = 1.0\nprior = 0.5\n"
    settings = load(tmp_path, f"{added}[targets.cart]\nhorizon_s = 60\n")
    assert [target.name for target in settings.targets] == ["purchase", "cart", "click", "spend", "churn"]
    by_name = {target.name: target for target in settings.targets}
    default = {target.name: target for target in Settings().targets}
    assert by_name["cart"] == replace(default["cart"], horizon_s=60.0)
    assert (by_name["churn"].rule, by_name["churn"].horizon_s) == ("churn", 86_400.0)
    assert all(by_name[name] == default[name] for name in ("purchase", "click", "spend"))
    assert [target.name for target in load(tmp_path, TARGET + "label = 'view'\n").targets] == ["x"]
    assert load(tmp_path, "", HEADRACE_TARGETS__CART="{ horizon_s = 60 }").targets[1].horizon_s == 60.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[targets.x]\nhorizon = 3", "unknown key targets.x.horizon; did you mean horizon_s?"),
        ("[targets.x]\nhorizon_s = 3", "targets.x.sampling_rate is missing"),
        ("[targets.cart]\nname = 'x'", "targets.cart.name is 'x'; leave it out"),
        ("[targets]\nx = 3", "targets.x is not a table"),
        ("[targets.cart]\nhorizon_s = 'a'", "horizon_s"),
        ("sed = 1", "unknown key sed; did you mean seed?"),
        ("[kafak]\npartitions = 1", "unknown key kafak; did you mean kafka?"),
        ("[kafka]\npartition = 1", "unknown key kafka.partition; did you mean partitions?"),
        ("[engine]\nwatch_dog_s = 1", "did you mean watchdog_s?"),
        ("[[windows]]\nname = 'x'\npane_s = 1\npanes = 1\n[[windows]]\nname = 'y'\npains = 3", "windows[1].pains"),
        ("[[targets]]\nname = 'x'\nhorizon = 3", "unknown key targets[0].horizon; did you mean horizon_s?"),
        ("[kafka]\npartitions = '4'", "kafka.partitions"),
        ("[kafka]\npartitions = 0", "kafka.partitions"),
        ("[kafka]\npartitions = 1.5", "kafka.partitions"),
        ("kafka = 1", "kafka"),
        ("freeze_global_tables = 1", "freeze_global_tables"),
        ("[time]\nsession_gap_s = 0", "time.session_gap_s"),
        ("[kafka]\nsecurity_protocol = 'PLAIN'", "allowed: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("[kafka]\nbootstrap_servers = 'kafka://a:1'", "kafka.security_protocol is PLAINTEXT; give host:port alone"),
        ("[kafka]\nbootstrap_servers = 'SSL://a:1'", "'SSL://a:1' is of the protocol SSL"),
        ("[kafka]\nbootstrap_servers = 'a:1,b:c'", "'b:c' is no address"),
        ("[kafka]\nbootstrap_servers = 'a:65536'", "'a:65536' is no address"),
        ("[kafka]\nbootstrap_servers = ''", "'' is no address"),
        ("[kafka]\nsecurity_protocol = 'SASL_PLAINTEXT'", "sasl_username"),
        ("[[targets]]\nname = 'x'\nlabel = 'buy'\nhorizon_s = 1\nsampling_rate = 1.0\nprior = 0.1", "label"),
        ("[[targets]]\nname = 'x'\nlabel = 'view'\nhorizon_s = 1\nsampling_rate = 0.0\nprior = 0.1", "sampling_rate"),
        ("[[windows]]\nname = 'x'\npane_s = 1\npanes = 129", "panes"),
        ("[decisions]\nshares = {random = 0.5, bandit = 0.4}", "sum to 0.9"),
        ("[decisions]\nshares = {bandit = 1.0}", "no random"),
        ("[decisions]\nshadows = ['gredy']", "decisions.shadows"),
        (
            "[decisions.rewards.click]\nwindow_s = 3\naggregation = 'first'\nweight = 1",
            "decisions.rewards.click.aggregation",
        ),
        ("[decisions.rewards.click]\nwindow_s = 3\nweight = 1", "decisions.rewards.click"),
        ("[decisions.rewards.click]\nwindow = 3", "unknown key decisions.rewards.click.window; did you mean window_s?"),
        ("[decisions.rewards.clicks]\nwindow_s = 3", "unknown key decisions.rewards.clicks; did you mean click?"),
        (
            "[decisions.rewards.click]\nwindow_s = 3\naggregation = 'sum'\nweight = 0.0",
            "decisions.rewards weigh nothing",
        ),
        ("[decisions]\nshares = {random = 0.5, gredy = 0.5}", "decisions.shares names unknown policies ['gredy']"),
        (
            "[decisions.policies.x]\nkind = 'oracle'",
            "decisions.policies.x.kind is 'oracle'; known: uniform, ranked, greedy",
        ),
        ("[decisions.policies.x]\nfloor = 0.1", "decisions.policies.x.kind is missing"),
        (
            "[decisions.policies.x]\nkind = 'linucb'\nalfa = 1",
            "unknown key decisions.policies.x.alfa; did you mean alpha?",
        ),
        ("[decisions.policies.x]\nkind = 'linucb'\nalpha = -1", "decisions.policies.x: Expected `float` >= 0.0"),
        ("[decisions.policies]\nx = 'linucb'", "decisions.policies.x is not a table"),
        ("[decisions.policies.random]\nkind = 'uniform'", "decisions.policies.random: the name is taken"),
        ("[decisions]\nq_filled_by = 'oracle'", "decisions.q_filled_by is 'oracle'"),
        (
            "[decisions]\nq_filled_by = 'x'\nshares = {random = 1.0}\n[decisions.policies.x]\nkind = 'uniform'",
            "decisions.q_filled_by is 'x'",
        ),
        (
            "[[targets]]\nname = 'bandit'\nlabel = 'view'\nhorizon_s = 1\nsampling_rate = 1.0\nprior = 0.1",
            "targets need names",
        ),
        ("[decisions]\nslate = 9\nshortlist = 8", "larger"),
        (
            "[[windows]]\nname = 'x'\npane_s = 1\npanes = 1\n[[windows]]\nname = 'x'\npane_s = 2\npanes = 1",
            "windows need names",
        ),
        (
            "[[targets]]\nname = 'q'\nlabel = 'view'\nhorizon_s = 1\nsampling_rate = 1.0\nprior = 0.1",
            "targets need names",
        ),
        (f"{TARGET}", "targets[0].label is missing"),
        (f"{TARGET}rule = 'churn'\nlabel = 'view'", "targets[0].label is read by rule event only"),
        (f"{TARGET}rule = 'churn'\nat_least = 3.0", "targets[0].at_least is read by rule rating only"),
        (f"{TARGET}label = 'purchase'\nlabels = 'correct'\nnegatives = 0.5", "targets[0].negatives is 0.5"),
        (f"{TARGET}rule = 'churm'", "targets[0].rule"),
        (f"{TARGET.replace('0.1', '1.5')}rule = 'churn'", "targets[0].prior"),
        (f"{TARGET}rule = 'spend'", "targets[0].models names linear: rule spend predicts an amount; choose of hurdle"),
        (f"{TARGET}rule = 'churn'\nmodels = ['linear', 'hurdle']", "targets[0].models names hurdle"),
        (
            f"{TARGET}rule = 'churn'\nmodels = ['linear', 'oracle']",
            "targets[0].models names 'oracle'; there are linear",
        ),
        (f"{TARGET}rule = 'churn'\nmodels = ['blend']", "targets[0].models are blend: they need to differ"),
        (f"{TARGET}rule = 'churn'\nmodels = ['ftrl', 'ftrl']", "targets[0].models are ftrl, ftrl: they need to differ"),
        (f"{TARGET}rule = 'churn'\nmodels = []", "targets[0].models are none"),
        ("[kafka]\nsecurity_protocol = 'SASL_SSL'", "sasl_username"),
        ("seed = = 1", "headrace.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HEADRACE_KAFAK__PARTITIONS", "1", "did you mean kafka?"),
        ("HEADRACE_KAFKA__PARTITION", "1", "did you mean partitions?"),
        ("HEADRACE_KAFKA__PARTITIONS", "many", "kafka.partitions"),
        ("HEADRACE_WINDOWS__PANES", "1", "set it in the file"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, "[[windows]]\nname = 'x'\npane_s = 1\npanes = 1\n", **{name: value})
    assert message in str(error.value)


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_settings(tmp_path / "nowhere.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"binary\.toml"):
        load_settings(binary)


def test_a_dump_shows_everything_but_the_password() -> None:
    environment = {"HEADRACE_KAFKA__SASL_PASSWORD": "kept to itself", "HEADRACE_KAFKA__SASL_USERNAME": "anna"}
    tree = dump_settings(load_settings(environment=environment))
    assert tree["kafka"]["sasl_password"] == "***"
    assert tree["kafka"]["sasl_username"] == "anna"
    assert "kept to itself" not in str(tree)
    assert tomllib.loads("seed = 0")["seed"] == tree["seed"]


def test_a_learner_has_a_partition_of_examples_by_its_name_alone() -> None:
    settings = load_settings()
    assert settings.learners == (*(target.name for target in settings.targets), "q", "bandit")
    (examples,) = [topic for topic in settings.topics if topic.name == EXAMPLES]
    assert examples.partitions == settings.kafka.learner_partitions
    fewer = Settings(targets=settings.targets[:0:-1])
    for name in fewer.learners:
        assert settings.partition_of_learner(name) == fewer.partition_of_learner(name) < examples.partitions


def test_pooled_policies_of_one_discount_share_a_learner_and_others_have_their_own() -> None:
    decisions = Decisions(
        policies={
            "dice": Uniform(),
            "a": SquareCB(),
            "b": Thompson(),
            "c": Thompson(discount=0.99),
            "d": LinUCB(discount=0.99),
            "e": LinUCB(learns_from="own"),
        }
    )
    learners = {name: learner_of(name, decisions.policies) for name in decisions.policies}
    assert learners == {"dice": None, "a": "a", "b": "a", "c": "c", "d": "c", "e": "e"}
    assert decisions.learners == ("q", "a", "c", "e")
    assert [decisions.discount(name) for name in ("a", "c", "e")] == [1.0, 0.99, 1.0]
    assert decisions.learners_from("e") == decisions.learners_from("random") == ["a", "c", "e"]
    assert decisions.learners_from("b") == decisions.learners_from("q") == ["a", "c"]


def test_every_topic_has_a_name_of_its_own() -> None:
    names = [topic.name for topic in load_settings().topics]
    assert len(names) == len(set(names)) == 15


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("a:1", "a:1"),
        ("PLAINTEXT://a:1,plaintext://b:2", "a:1,b:2"),
        (" kafka-1.shop_x:9093 , 10.0.0.1 ", "kafka-1.shop_x:9093,10.0.0.1:9092"),
        ("[::1]:9092", "[::1]:9092"),
    ],
)
def test_an_address_is_the_same_for_every_client(given: str, read: str) -> None:
    assert load_settings(environment={"KAFKA_BOOTSTRAP_SERVERS": given}).kafka.bootstrap_servers == read
