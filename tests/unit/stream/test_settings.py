"""Settings: where they come from, and how a wrong one is told."""

import os

import pytest

from models.cleaning import CleaningRule
from stream.errors import SettingsError
from stream.settings import Settings, listing, variable


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch):
    """No setting of the person who runs the tests reaches them."""
    for name in list(os.environ):
        if name.startswith("FRESHET_"):
            monkeypatch.delenv(name)


def refusal(**overrides) -> str:
    """Give the one line that settings are refused with."""
    with pytest.raises(SettingsError) as refused:
        Settings.load(**overrides)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_defaults_are_those_of_the_contract():
    """Without any setting a worker talks to a local broker under the published names."""
    settings = Settings.load()
    assert settings.brokers == "localhost:9092"
    assert settings.topics.events == ("events.click", "events.favorite", "events.cart", "events.purchase")
    assert settings.topics.dead_letter == "events.dead-letter"
    assert settings.topics.changelog == "freshet-users-changelog"
    assert (settings.http_host, settings.http_port) == ("127.0.0.1", 6066)


def test_environment_sets_and_an_override_wins(monkeypatch):
    """An option of the command goes before the environment; None means it was not given."""
    monkeypatch.setenv("FRESHET_PARTITIONS", "12")
    monkeypatch.setenv("FRESHET_LIST_SIZE", "30")
    settings = Settings.load(partitions=4, list_size=None)
    assert (settings.partitions, settings.list_size) == (4, 30)


def test_empty_variable_counts_as_not_set(monkeypatch):
    """Compose files write ``${NAME:-}`` for what may be absent."""
    monkeypatch.setenv("FRESHET_PARTITIONS", "")
    assert Settings.load().partitions == 8


def test_prefix_goes_before_every_topic_but_the_changelog():
    """The changelog's name is made of the group by Faust."""
    topics = Settings.load(topic_prefix="shop.", group_id="g").topics
    assert topics.changelog == "g-users-changelog"
    assert all(name.startswith("shop.") for name in topics if name != topics.changelog)


def test_rules_are_the_settings_in_milliseconds():
    """Seconds of settings become the milliseconds that decisions are made in."""
    rules = Settings.load(
        segment_span_s=60, segment_max_events=5, list_interval_s=0.25, exclude_bought_s=2, lists="recent"
    ).rules
    assert (rules.segment.span_ms, rules.segment.max_events) == (60_000, 5)
    assert (rules.list_interval_ms, rules.exclude_bought_ms, rules.recent) == (250, 2_000, True)


def test_cleaning_defaults_are_those_of_the_rule():
    """The thresholds have one definition, and each setting reaches its own."""
    assert Settings.load().rules.cleaning == CleaningRule()
    changed = Settings.load(
        suspicious_clicks_per_day=1,
        suspicious_clicks_per_purchase=2,
        suspicious_burst_clicks=3,
        suspicious_burst_s=4,
        suspicious_quarantine_s=5,
    )
    assert changed.rules.cleaning == CleaningRule(1, 2, 3, 4_000, 5_000)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("partitions", "0", "a whole number from 1 to 10000"),
        ("partitions", "many", "a whole number from 1 to 10000"),
        ("partitions", "1.5", "a whole number from 1 to 10000"),
        ("list_interval_s", "nan", "a number from 0 to 86400"),
        ("lists", "best", "one of model, recent"),
        ("exclude_seen", "maybe", "true or false"),
        ("brokers", "localhost", "host:port"),
        ("brokers", "a:1,,b:2", "host:port"),
        ("topic_cart", "a b", "letters"),
        ("http_port", "65536", "a whole number from 0 to 65535"),
        ("log_level", "loud", "one of debug, info"),
    ],
)
def test_wrong_setting_is_told_with_name_value_and_what_is_allowed(monkeypatch, name, value, allowed):
    """One line that leaves nothing to guess."""
    monkeypatch.setenv(variable(name), value)
    told = refusal()
    assert told.startswith(f"{variable(name)} is '{value}'")
    assert allowed in told


def test_all_wrong_settings_are_told_at_once():
    """A person should not have to start three times for three mistakes."""
    told = refusal(partitions=0, list_size=0)
    assert "FRESHET_PARTITIONS" in told
    assert "FRESHET_LIST_SIZE" in told


def test_unknown_variable_is_refused_with_the_name_it_resembles(monkeypatch):
    """A mistyped name would otherwise be a setting that does nothing."""
    monkeypatch.setenv("FRESHET_BROKRES", "a:1")
    assert refusal() == "there is no setting FRESHET_BROKRES; did you mean FRESHET_BROKERS?"


def test_unknown_override_is_refused():
    """``--set`` is held to the same names."""
    assert refusal(colour="red").startswith("there is no setting FRESHET_COLOUR;")


def test_variable_of_the_tests_is_let_be(monkeypatch):
    """The folder of shared data is named with our prefix and is no setting."""
    monkeypatch.setenv("FRESHET_SHARED", "/data")
    Settings.load()


SASL = {"security_protocol": "SASL_PLAINTEXT", "sasl_username": "u", "sasl_password": "hunter2"}


def test_secrets_are_never_shown():
    """Neither an error nor the settings themselves print a password."""
    assert "hunter2" not in repr(Settings.load(**SASL))
    assert "hunter2" not in refusal(**SASL, partitions=0)
    assert all("hunter2" not in cell for row in listing() for cell in row)


def test_secret_is_read_from_a_file(monkeypatch, tmp_path):
    """The line end that editors leave is not part of the password."""
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    monkeypatch.setenv("FRESHET_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    settings = Settings.load(security_protocol="SASL_PLAINTEXT", sasl_username="u")
    assert settings.kafka_security() == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": "u",
        "sasl_plain_password": "hunter2",
    }


def test_secret_file_that_cannot_be_read_is_told(monkeypatch, tmp_path):
    """The variable and the path are named."""
    monkeypatch.setenv("FRESHET_SASL_PASSWORD_FILE", str(tmp_path / "absent"))
    assert refusal().startswith(f"FRESHET_SASL_PASSWORD_FILE is '{tmp_path / 'absent'}': no such file")


def test_secret_file_that_is_empty_is_refused(monkeypatch, tmp_path):
    """An empty token would let everybody in."""
    (tmp_path / "token").write_text("\n", encoding="utf-8")
    monkeypatch.setenv("FRESHET_HTTP_TOKEN_FILE", str(tmp_path / "token"))
    assert refusal() == f"FRESHET_HTTP_TOKEN_FILE is '{tmp_path / 'token'}': the file is empty"


def test_secret_given_twice_is_refused(monkeypatch, tmp_path):
    """Which of the two should win cannot be known."""
    monkeypatch.setenv("FRESHET_SASL_PASSWORD", "a")
    monkeypatch.setenv("FRESHET_SASL_PASSWORD_FILE", str(tmp_path / "password"))
    assert "both set" in refusal()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"security_protocol": "SASL_SSL"}, "FRESHET_SASL_USERNAME is not set"),
        ({"security_protocol": "SASL_SSL", "sasl_username": "u"}, "FRESHET_SASL_PASSWORD is not set"),
        ({"ssl_keyfile": "/key.pem"}, "it needs FRESHET_SSL_CERTFILE"),
        ({"topic_cart": "items"}, "FRESHET_TOPIC_CART is 'items'; another topic has that name too"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides, words):
    """Values that are each allowed, and not together."""
    assert words in refusal(**overrides)


OAUTH = {"security_protocol": "SASL_SSL", "sasl_mechanism": "OAUTHBEARER"}
URL = {"sasl_oauth_token_url": "https://id.example/token"}
CLIENT = {"sasl_oauth_client_id": "shop", "sasl_oauth_client_secret": "hunter2"}


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({}, "FRESHET_SASL_OAUTH_TOKEN_FILE is not set, nor FRESHET_SASL_OAUTH_TOKEN_URL; "),
        (URL | CLIENT | {"sasl_oauth_token_file": "/token"}, "_URL are both set; unset one of them"),
        (URL, "FRESHET_SASL_OAUTH_CLIENT_ID is not set; FRESHET_SASL_OAUTH_TOKEN_URL needs it"),
        (URL | {"sasl_oauth_client_id": "shop"}, "FRESHET_SASL_OAUTH_CLIENT_SECRET is not set; "),
        (CLIENT | {"sasl_oauth_token_url": "id.example"}, "an address that begins with https:// or http://"),
        (
            CLIENT | {"sasl_oauth_token_url": "https://a:hunter2@id.example"},
            "TOKEN_URL is (hidden); who asks",
        ),
        (URL | CLIENT | {"partitions": 0}, "FRESHET_PARTITIONS is '0'"),
    ],
)
def test_token_comes_from_one_place(overrides, words):
    """A file or an endpoint with credentials; the line shows no secret."""
    told = refusal(**OAUTH, **overrides)
    assert words in told
    assert "hunter2" not in told


def test_token_takes_the_place_of_user_and_password(monkeypatch, tmp_path):
    """Every client of a process gets the same source, also where the secret stands in a file."""
    (tmp_path / "secret").write_text("hunter2\n", encoding="utf-8")
    monkeypatch.setenv("FRESHET_SASL_OAUTH_CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    settings = Settings.load(**OAUTH, **URL, sasl_oauth_client_id="shop")
    first, second = settings.kafka_security(), settings.kafka_security()
    assert first.keys() == {
        "security_protocol",
        "ssl_context",
        "sasl_mechanism",
        "sasl_oauth_token_provider",
    }
    assert first["sasl_oauth_token_provider"] is second["sasl_oauth_token_provider"]
    assert settings.sasl_oauth_client_secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(settings) + repr(first)


def test_settings_of_tokens_mean_nothing_to_other_logins():
    """A file of settings that all share may hold them."""
    assert Settings.load(**URL).tokens is None
    assert Settings.load(**SASL, **URL).tokens is None


def test_file_of_certificates_that_is_absent_is_told():
    """TLS files are read when a client is made; the setting is named."""
    settings = Settings.load(security_protocol="SSL", ssl_cafile="/absent.pem")
    with pytest.raises(SettingsError, match=r"FRESHET_SSL_CAFILE is '/absent\.pem': no such file"):
        settings.kafka_security()


def test_tls_verifies_the_broker():
    """The context checks certificate and host name."""
    context = Settings.load(security_protocol="SSL").kafka_security()["ssl_context"]
    assert context.check_hostname
    assert Settings.load().ssl_context() is None


def test_listing_explains_every_setting():
    """Each row has a name, what is allowed and a meaning, and its default is one that is allowed."""
    rows = listing()
    assert {name for name, *_ in rows} == {variable(name) for name in Settings.model_fields}
    assert all(allowed and meaning for _, _, allowed, meaning in rows)
