"""Every setting of freshet; the only reader of the environment.

A setting is an environment variable ``FRESHET_<NAME>``; an empty one counts as not set. A
secret can also stand in a file named by ``FRESHET_<NAME>_FILE``. Commands pass the values of
their options as overrides. A wrong value, or a variable of an unknown name, is one
``SettingsError`` line with its name, its value and what is allowed.
"""

import os
import ssl
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Self, get_args, get_origin

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from models.canary_config import CanaryConfig
from models.cleaning import CleaningRule
from models.gate_config import GateConfig
from models.segment import SegmentRule
from stream.errors import SettingsError
from stream.rules import Rules

if TYPE_CHECKING:
    from stream.oauth import Tokens

PREFIX: Final = "FRESHET_"

NOT_SETTINGS: Final = frozenset({"FRESHET_SHARED"})
"""Variables with the prefix that the tests and benchmarks read, and the program does not."""

_BROKERS = r"^[^\s,:]+:\d{1,5}(,[^\s,:]+:\d{1,5})*$"
_NAME = r"^[a-zA-Z0-9._-]{1,100}$"
_PREFIX = r"^[a-zA-Z0-9._-]{0,100}$"
_URL = r"^(https?://[^\s/?#]+(/[^\s?#]*)?(\?[^\s#]*)?)?$"
_PATTERNS = {
    _BROKERS: "host:port, or several with commas between",
    _NAME: "1 to 100 of the letters a to z and A to Z, digits, '.', '_' and '-'",
    _PREFIX: "at most 100 of the letters a to z and A to Z, digits, '.', '_' and '-'",
    _URL: "an address that begins with https:// or http://",
}

TopicName = Annotated[str, Field(pattern=_NAME)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Seconds = Annotated[int, Field(ge=0, le=10 * 365 * 86_400)]


class Topics(NamedTuple):
    """The names of the topics in force, prefix included."""

    click: str
    favorite: str
    cart: str
    purchase: str
    items: str
    recommendations: str
    models: str
    dead_letter: str
    forget: str
    changelog: str

    @property
    def events(self) -> tuple[str, str, str, str]:
        """The four event topics; the position of each is its ``models.behavior.Behavior``."""
        return self.click, self.favorite, self.cart, self.purchase


class Settings(BaseSettings):
    """The settings in force, checked; make one with ``Settings.load``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    brokers: Annotated[str, Field(pattern=_BROKERS)] = Field(
        "localhost:9092", description="Kafka brokers to ask first, host:port, separated by commas"
    )
    group_id: Annotated[str, Field(pattern=_NAME)] = Field(
        "freshet", description="consumer group of the workers; also begins the changelog's name"
    )
    group_instance_id: Annotated[str, Field(pattern=_PREFIX)] = Field(
        "", description="a worker's own lasting name, to come back without a rebalance; empty: none"
    )
    session_timeout_s: Annotated[int, Field(ge=6, le=1_800)] = Field(
        20,
        description="how long the group waits for a silent worker before it shares its partitions out; "
        "with a lasting name longer than a restart takes",
    )
    standby_replicas: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="how many other workers keep a copy of each partition's state, ready to take over; "
        "the same for all workers",
    )
    processing_guarantee: Literal["at_least_once", "exactly_once"] = Field(
        "at_least_once",
        description="exactly_once: a batch's lists, changelog and offsets in one transaction",
    )
    topic_prefix: Annotated[str, Field(pattern=_PREFIX)] = Field(
        "", description="put before every topic name but the changelog's"
    )
    topic_click: TopicName = Field("events.click", description="topic of clicks")
    topic_favorite: TopicName = Field("events.favorite", description="topic of favourites")
    topic_cart: TopicName = Field("events.cart", description="topic of additions to the cart")
    topic_purchase: TopicName = Field("events.purchase", description="topic of purchases")
    topic_items: TopicName = Field("items", description="topic of item attributes")
    topic_recommendations: TopicName = Field("recommendations", description="topic the lists go to")
    topic_models: TopicName = Field("models", description="topic that announces the weights in force")
    topic_dead_letter: TopicName = Field("events.dead-letter", description="topic of refused records")
    topic_forget: TopicName = Field("users.forget", description="topic of users to erase")
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        8,
        description="partitions of the event topics, users.forget, the changelog and the lists; the most "
        "workers that can share the work",
    )
    replication_factor: Annotated[int, Field(ge=1, le=100)] = Field(
        1, description="copies of each topic that `freshet topics` makes"
    )

    lists: Literal["model", "recent"] = Field(
        "model", description="what lists are made of: the model, or the user's own last items (no model)"
    )
    list_size: Annotated[int, Field(ge=1, le=1_000)] = Field(
        Rules().list_size, description="longest list, in items"
    )
    list_interval_s: Annotated[float, Field(ge=0, le=86_400)] = Field(
        0, description="at most one list a user in this time; 0: one for every event"
    )
    exclude_bought_s: Seconds = Field(
        86_400, description="leave out what the user bought within this time; 0: leave it in"
    )
    exclude_seen: bool = Field(False, description="leave out every item of the user's segment")
    max_per_category: Annotated[int, Field(ge=0, le=1_000)] = Field(
        0, description="at most this many items of a category in a list; 0: any number"
    )
    segment_span_s: Annotated[int, Field(ge=1, le=10 * 365 * 86_400)] = Field(
        SegmentRule().span_ms // 1_000,
        description="the paper's m: how far back a user's segment reaches; weights trained under another "
        "are refused",
    )
    segment_max_events: Annotated[int, Field(ge=2, le=4_096)] = Field(
        SegmentRule().max_events, description="most events of a segment (the paper's K); likewise"
    )
    max_future_s: Seconds = Field(
        Rules().max_future_ms // 1_000, description="refuse events further ahead of the clock than this"
    )
    suspicious_clicks_per_day: Count = Field(
        CleaningRule().max_clicks_per_day,
        description="clicks of a user in a day that no person makes; 0: off",
    )
    suspicious_clicks_per_purchase: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        CleaningRule().clicks_per_purchase, description="unless the user buys once in so many clicks"
    )
    suspicious_burst_clicks: Count = Field(
        CleaningRule().max_burst_clicks, description="clicks of a user in a burst that no hand makes; 0: off"
    )
    suspicious_burst_s: Annotated[int, Field(ge=1, le=86_400)] = Field(
        CleaningRule().burst_ms // 1_000, description="how long such a burst is"
    )
    suspicious_quarantine_s: Seconds = Field(
        CleaningRule().quarantine_ms // 1_000, description="how long a suspicious user's events are left out"
    )

    http_host: Annotated[str, Field(min_length=1)] = Field(
        "127.0.0.1", description="address to listen on; 0.0.0.0 to be scraped from outside"
    )
    http_port: Annotated[int, Field(ge=0, le=65_535)] = Field(
        6066, description="HTTP port of a worker; 0: any free one"
    )
    http_token: SecretStr = Field(
        SecretStr(""),
        description="bearer token that /metrics and lists are given for; also as FRESHET_HTTP_TOKEN_FILE",
    )
    http_certfile: Path | None = Field(None, description="certificate (PEM) of the HTTP port, for TLS")
    http_keyfile: Path | None = Field(None, description="key (PEM) of that certificate")
    data_dir: Path = Field(
        Path("freshet-data"),
        description="folder of a worker's own files; with rocksdb each worker needs one of its own",
    )
    store: Literal["memory", "rocksdb"] = Field(
        "memory", description="where a worker holds its users: in memory, or in RocksDB in the data folder"
    )
    store_cache_mb: Annotated[int, Field(ge=8, le=1_000_000)] = Field(
        256,
        description="with rocksdb: megabytes for blocks that were read, their indexes and filters, and write "
        "buffers, all partitions together",
    )
    model_store: str = Field(
        "",
        description="folder of the artifacts, or an fsspec URL such as s3://bucket/models, for trainer and "
        "workers; not set: models in FRESHET_DATA_DIR",
    )
    model_name: Annotated[str, Field(pattern=_NAME)] = Field(
        "default", description="which model of the store is served"
    )
    model_max_mb: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        4_096, description="refuse an artifact of more megabytes than this, and do not announce it"
    )
    index_from_items: Count = Field(
        0,
        description="search catalogues of so many items and more through an index, which misses some of the "
        "best; needs the extra large; 0: never",
    )
    model_private_keyfile: Path | None = Field(
        None, description="Ed25519 key (PEM) that training signs artifacts with; not set: they are not signed"
    )
    model_public_keyfile: Path | None = Field(
        None, description="its public key (PEM): workers take signed artifacts only; not set: any"
    )
    forget_keyfile: Path | None = Field(
        None, description="key of the hashes of erased users; not set: forgotten.key of the model store"
    )
    retrain_interval_s: Annotated[int, Field(ge=1, le=365 * 86_400)] = Field(
        3_600, description="time from the beginning of a retraining to that of the next"
    )
    retrain_light_interval_s: Annotated[int, Field(ge=0, le=365 * 86_400)] = Field(
        300, description="the same of light refreshes, which count anew and train nothing; 0: none"
    )
    retrain_full_every: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        24, description="every so many retrainings one begins from nothing; the others from the champion"
    )
    retrain_horizon_s: Annotated[int, Field(ge=1, le=10 * 365 * 86_400)] = Field(
        30 * 86_400, description="how far back of the newest event training looks"
    )
    retrain_max_events: Annotated[int, Field(ge=100, le=1_000_000_000)] = Field(
        2_000_000, description="most events training looks at, the newest; bounds its memory"
    )
    retrain_hold_back: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        GateConfig().hold_back,
        description="newest events held back to compare models by, at most half of the new ones",
    )
    retrain_level: Annotated[float, Field(ge=0.0001, le=0.49)] = Field(
        GateConfig().level, description="share of challengers no better than the champion that may pass"
    )
    retrain_least_gain: Annotated[float, Field(ge=0, le=10)] = Field(
        GateConfig().least_gain, description="least gain of a challenger, as a share of the champion's MRR"
    )
    retrain_least_users: Annotated[int, Field(ge=2, le=1_000_000_000)] = Field(
        GateConfig().least_users, description="fewest users with a held-back event to compare models by"
    )
    retrain_keep: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10, description="newest artifacts kept, beside the one in force and the one before it"
    )
    retrain_keep_refused: Annotated[int, Field(ge=0, le=100_000)] = Field(
        5, description="newest challengers kept beside these that the gate refused; 0: none"
    )
    canary_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0, description="share of users that a challenger serves on trial before it is in force; 0: no trials"
    )
    canary_level: Annotated[float, Field(ge=0.0001, le=0.49)] = Field(
        CanaryConfig("").level, description="most that an equal challenger's trial ends in promotion with"
    )
    canary_alarm: Annotated[float, Field(ge=0.0001, le=0.49)] = Field(
        CanaryConfig("").alarm, description="most that an equal challenger is rolled back as worse with"
    )
    canary_events: Annotated[int, Field(ge=1, le=1_000)] = Field(
        CanaryConfig("").events, description="first events with a list before them that a user counts by"
    )
    canary_most_pairs: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        CanaryConfig("").most_pairs, description="roll back after so many pairs of users without a decision"
    )
    canary_limit_s: Annotated[int, Field(ge=1, le=365 * 86_400)] = Field(
        7 * 86_400, description="roll back after so long without a decision"
    )
    batch_max_events: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        20_000, description="most events taken from Kafka at once"
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to Kafka"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "PLAIN", description="how to log in, with SASL_PLAINTEXT or SASL_SSL"
    )
    sasl_username: str = Field("", description="user name, with PLAIN or SCRAM")
    sasl_password: SecretStr = Field(
        SecretStr(""), description="its password; also as FRESHET_SASL_PASSWORD_FILE"
    )
    sasl_oauth_token_file: Path | None = Field(
        None, description="with OAUTHBEARER: the token, in a file that is read for each new connection"
    )
    sasl_oauth_token_url: Annotated[str, Field(pattern=_URL)] = Field(
        "", description="with OAUTHBEARER: the endpoint that gives tokens for client credentials"
    )
    sasl_oauth_client_id: str = Field("", description="who asks that endpoint for a token")
    sasl_oauth_client_secret: SecretStr = Field(
        SecretStr(""), description="its secret; also as FRESHET_SASL_OAUTH_CLIENT_SECRET_FILE"
    )
    sasl_oauth_scope: str = Field(
        "", description="what the token is to be good for; empty: the endpoint's choice"
    )
    ssl_cafile: Path | None = Field(None, description="certificates to trust (PEM); not set: the system's")
    ssl_certfile: Path | None = Field(None, description="our own certificate (PEM)")
    ssl_keyfile: Path | None = Field(None, description="key of our own certificate (PEM)")
    ssl_password: SecretStr = Field(
        SecretStr(""), description="password of that key; also as FRESHET_SSL_PASSWORD_FILE"
    )
    log_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="least severity that is logged"
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment; an override that is not ``None`` wins. Raises ``SettingsError``."""
        given = {name: value for name, value in overrides.items() if value is not None}
        _refuse_unknown(cls, given)
        values: dict[str, Any] = {**_secrets_from_files(cls), **given}
        try:
            return cls(**values)
        except ValidationError as error:
            raise SettingsError("; ".join(_lines(cls, error))) from None

    @property
    def topics(self) -> Topics:
        """The names of the topics in force."""
        prefix = self.topic_prefix
        return Topics(
            click=prefix + self.topic_click,
            favorite=prefix + self.topic_favorite,
            cart=prefix + self.topic_cart,
            purchase=prefix + self.topic_purchase,
            items=prefix + self.topic_items,
            recommendations=prefix + self.topic_recommendations,
            models=prefix + self.topic_models,
            dead_letter=prefix + self.topic_dead_letter,
            forget=prefix + self.topic_forget,
            # Faust makes this name from the group and the table; it cannot take a prefix.
            changelog=f"{self.group_id}-users-changelog",
        )

    @property
    def segment_rule(self) -> SegmentRule:
        """The m and K of every segment."""
        return SegmentRule(span_ms=self.segment_span_s * 1_000, max_events=self.segment_max_events)

    @property
    def rules(self) -> Rules:
        """What the decisions about events and lists need."""
        return Rules(
            segment=self.segment_rule,
            cleaning=CleaningRule(
                max_clicks_per_day=self.suspicious_clicks_per_day,
                clicks_per_purchase=self.suspicious_clicks_per_purchase,
                max_burst_clicks=self.suspicious_burst_clicks,
                burst_ms=self.suspicious_burst_s * 1_000,
                quarantine_ms=self.suspicious_quarantine_s * 1_000,
            ),
            list_size=self.list_size,
            exclude_bought_ms=self.exclude_bought_s * 1_000,
            exclude_seen=self.exclude_seen,
            max_per_category=self.max_per_category,
            list_interval_ms=round(self.list_interval_s * 1_000),
            max_future_ms=self.max_future_s * 1_000,
            recent=self.lists == "recent",
        )

    @property
    def exactly_once(self) -> bool:
        """Whether lists, changelog and offsets go out in one transaction."""
        return self.processing_guarantee == "exactly_once"

    @property
    def on_disk(self) -> bool:
        """Whether a worker holds its users on disk."""
        return self.store == "rocksdb"

    @property
    def isolation_level(self) -> str:
        """Which records consumers are shown: under ``exactly_once`` those that are committed."""
        return "read_committed" if self.exactly_once else "read_uncommitted"

    @property
    def model_store_url(self) -> str:
        """Where the artifacts lie."""
        return self.model_store or str(self.data_dir / "models")

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make what TLS trusts and shows; ``None`` without TLS. Raises ``SettingsError``."""
        if self.security_protocol not in ("SSL", "SASL_SSL"):
            return None
        context = self._trusted()
        if self.ssl_certfile is not None:
            _show(context, self.ssl_certfile, self.ssl_keyfile, self.ssl_password, prefix="SSL")
        return context

    def http_ssl_context(self) -> ssl.SSLContext | None:
        """Make what the HTTP port shows; ``None`` without TLS. Raises ``SettingsError``."""
        if self.http_certfile is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _show(context, self.http_certfile, self.http_keyfile, SecretStr(""), prefix="HTTP")
        return context

    def kafka_security(self) -> dict[str, Any]:
        """Give the security arguments that aiokafka's consumer, producer and admin client share."""
        arguments: dict[str, Any] = {"security_protocol": self.security_protocol}
        context = self.ssl_context()
        if context is not None:
            arguments["ssl_context"] = context
        if self.security_protocol.startswith("SASL"):
            arguments["sasl_mechanism"] = self.sasl_mechanism
            if self.tokens is not None:
                arguments["sasl_oauth_token_provider"] = self.tokens
            else:
                arguments["sasl_plain_username"] = self.sasl_username
                arguments["sasl_plain_password"] = self.sasl_password.get_secret_value()
        return arguments

    @cached_property
    def tokens(self) -> "Tokens | None":
        """What all clients take their tokens from; ``None`` for a login without. Raises ``SettingsError``."""
        if not (self.security_protocol.startswith("SASL") and self.sasl_mechanism == "OAUTHBEARER"):
            return None
        # Not at the top: who logs in without a token needs no HTTP client.
        from stream.oauth import ClientCredentials, Credentials, TokenFile  # noqa: PLC0415

        if self.sasl_oauth_token_file is not None:
            return TokenFile(self.sasl_oauth_token_file)
        credentials = Credentials(
            url=self.sasl_oauth_token_url,
            client_id=self.sasl_oauth_client_id,
            client_secret=self.sasl_oauth_client_secret,
            scope=self.sasl_oauth_scope,
        )
        return ClientCredentials(credentials, trusted=self._trusted())

    def _trusted(self) -> ssl.SSLContext:
        """Make a context that trusts the authorities of the settings. Raises ``SettingsError``."""
        try:
            return ssl.create_default_context(cafile=self.ssl_cafile)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(f"FRESHET_SSL_CAFILE is '{self.ssl_cafile}': {reason(error)}") from None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse values that are each allowed and contradict each other."""
        if self.security_protocol.startswith("SASL"):
            if self.sasl_mechanism == "OAUTHBEARER":
                self._agree_on_tokens()
            else:
                needs = f"SECURITY_PROTOCOL {self.security_protocol}"
                self._require("sasl_username", "sasl_password", needs=needs)
        for port in ("SSL", "HTTP"):
            key = getattr(self, f"{port.lower()}_keyfile")
            if key is not None and getattr(self, f"{port.lower()}_certfile") is None:
                raise ValueError(f"{PREFIX}{port}_KEYFILE is '{key}'; it needs {PREFIX}{port}_CERTFILE")
        token = self.http_token.get_secret_value()
        if not all("!" <= letter <= "~" for letter in token):
            raise ValueError(f"{PREFIX}HTTP_TOKEN is (hidden); it must be visible ASCII without spaces")
        names = self.topics
        for field, name in zip(Topics._fields, names, strict=True):
            if names.count(name) > 1:
                raise ValueError(
                    f"{PREFIX}TOPIC_{field.upper()} is '{name}'; another topic has that name too"
                )
        return self

    def _agree_on_tokens(self) -> None:
        """Refuse tokens from two places, and from none."""
        file, url = f"{PREFIX}SASL_OAUTH_TOKEN_FILE", f"{PREFIX}SASL_OAUTH_TOKEN_URL"
        if self.sasl_oauth_token_file is not None and self.sasl_oauth_token_url:
            raise ValueError(f"{file} and {url} are both set; unset one of them")
        if self.sasl_oauth_token_file is None:
            if not self.sasl_oauth_token_url:
                raise ValueError(
                    f"{file} is not set, nor {url}; {PREFIX}SASL_MECHANISM OAUTHBEARER needs one of them"
                )
            self._require("sasl_oauth_client_id", "sasl_oauth_client_secret", needs="SASL_OAUTH_TOKEN_URL")
        if "@" in self.sasl_oauth_token_url.partition("?")[0].partition("//")[2].partition("/")[0]:
            raise ValueError(
                f"{url} is (hidden); who asks stands in {PREFIX}SASL_OAUTH_CLIENT_ID and its secret"
            )

    def _require(self, *names: str, needs: str) -> None:
        """Refuse settings that are not set and that ``needs``, another one, cannot do without."""
        for name in names:
            if not getattr(self, name):
                raise ValueError(f"{variable(name)} is not set; {PREFIX}{needs} needs it")


def variable(field: str) -> str:
    """Name the environment variable of a setting."""
    return PREFIX + field.upper()


def listing() -> list[tuple[str, str, str, str]]:
    """List every setting: its variable, its default, what is allowed, and what it means."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
        shown = "" if default is None else str(default).lower() if default is False else str(default)
        rows.append((variable(name), shown, allowed(field), field.description or ""))
    return rows


def allowed(field: FieldInfo) -> str:
    """Say in words which values a setting may have."""
    kind: Any = field.annotation
    limits = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)
    }
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if kind is bool:
        return "true or false"
    if kind in (int, float):
        noun = "a whole number" if kind is int else "a number"
        return f"{noun} from {limits['ge']} to {limits['le']}"
    pattern = next((rule.pattern for rule in field.metadata if getattr(rule, "pattern", None)), None)
    if pattern is not None:
        return _PATTERNS[pattern]
    return "a file" if kind == Path | None else "a folder" if kind is Path else "a text"


def _show(
    context: ssl.SSLContext, certfile: Path, keyfile: Path | None, password: SecretStr, *, prefix: str
) -> None:
    """Let a context show a certificate; ``prefix`` begins the settings. Raises ``SettingsError``."""
    try:
        # An empty password, not None, with which OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certfile, keyfile, password.get_secret_value())
    except (OSError, ssl.SSLError) as error:
        secret = " and FRESHET_SSL_PASSWORD the key's password" if prefix == "SSL" else ""
        raise SettingsError(
            f"{PREFIX}{prefix}_CERTFILE is '{certfile}' and {PREFIX}{prefix}_KEYFILE is '{keyfile}': "
            f"{reason(error)}; they must be PEM files that belong together{secret}"
        ) from None


def _refuse_unknown(settings: type[Settings], given: Mapping[str, Any]) -> None:
    """Stop at a name that no setting has: most likely one that was meant is mistyped."""
    known = {variable(name) for name in settings.model_fields}
    files = {variable(name) + "_FILE" for name in _secret_fields(settings)}
    in_environment = {name for name in os.environ if name.upper().startswith(PREFIX)}
    unknown = sorted({name for name in in_environment if name.upper() not in known | files | NOT_SETTINGS})
    unknown += sorted(variable(name) for name in given if name not in settings.model_fields)
    if unknown:
        # The value is not shown: a mistyped name may be that of a secret.
        names = [name.removeprefix(PREFIX) for name in known | files]
        close = get_close_matches(unknown[0].upper().removeprefix(PREFIX), names, n=1)
        hint = f"did you mean {PREFIX}{close[0]}?" if close else "`freshet --settings` lists them"
        raise SettingsError(f"there is no setting {unknown[0]}; {hint}")


def _secret_fields(settings: type[Settings]) -> list[str]:
    """Name the settings whose value is never shown."""
    return [name for name, field in settings.model_fields.items() if field.annotation is SecretStr]


def _secrets_from_files(settings: type[Settings]) -> dict[str, str]:
    """Read the secrets that are given as files, without the line end most editors leave."""
    secrets = {}
    for name in _secret_fields(settings):
        path = os.environ.get(variable(name) + "_FILE")
        if not path:
            continue
        if os.environ.get(variable(name)):
            raise SettingsError(f"{variable(name)} and {variable(name)}_FILE are both set; unset one of them")
        try:
            secrets[name] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{variable(name)}_FILE is '{path}': {reason(error)}; it must be a readable text file"
            ) from None
        if not secrets[name]:
            raise SettingsError(f"{variable(name)}_FILE is '{path}': the file is empty")
    return secrets


def _lines(settings: type[Settings], error: ValidationError) -> list[str]:
    """Give a line for each wrong setting; a secret's value stays out of it."""
    lines = []
    for problem in error.errors():
        if not problem["loc"]:
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        name = str(problem["loc"][0])
        field = settings.model_fields[name]
        value = "(hidden)" if field.annotation is SecretStr else f"'{problem['input']}'"
        lines.append(f"{variable(name)} is {value}; it must be {allowed(field)}")
    return lines


def reason(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file cannot be used, in a few words."""
    return (getattr(error, "strerror", None) or str(error)).lower()
