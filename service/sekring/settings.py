"""The settings of `sekring serve`: one table, read from the environment and from options.

Each field of `Settings` is declared once, with its default, its unit and the values it takes. The
environment (`SEKRING_PORT`), the option (`--port`) and `--help` all come from that declaration.
An option goes before the environment; an empty variable counts as not set. A secret may be in a
file, which `SEKRING_REDIS_URL_FILE` and the like name. Another command has a table of its own
(`sekring.gateway.settings`); the functions here take any `Declared`.

Tokens and passwords appear neither in an error nor in a `repr`.
"""

import argparse
import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Generic, TypeVar, get_args, get_type_hints

import msgspec

from sekring.errors import SettingsError
from sekring.redisurl import RedisUrl, redact_url
from sekring.secretfile import SUFFIX, read_secret
from sekring.takes import (
    HOST,
    PATH,
    REDIS_URL,
    SEAL_KEY,
    SWITCH,
    Takes,
    matching,
    one_of,
    whole_number,
)

__all__ = [
    "LOG_FORMAT",
    "LOG_LEVEL",
    "Declared",
    "Loaded",
    "Setting",
    "Settings",
    "add_options",
    "load",
    "load_as",
    "option_of",
    "secret_files",
    "table",
    "variable_of",
]

PREFIX: Final = "SEKRING_"

#: Variables that belong to the command-line client, not to the service.
CLIENT_VARIABLES: Final = frozenset({"SEKRING_GATEWAY", "SEKRING_TOKEN", "SEKRING_URL"})

#: Variables that belong to the tests.
TEST_PREFIX: Final = "SEKRING_TEST_"


class Setting(msgspec.Struct, frozen=True):
    """What is known of a setting beside its name, its type and its default."""

    help: str
    takes: Takes[Any]
    #: A value of it may hold a token or a password and is never shown,
    secret: bool = False
    #: but for what this leaves of it.
    redact: Callable[[str], str] | None = None
    #: Offered as an option; a command line can be read by everyone on the machine.
    option: bool = True


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of some command: each field is annotated with its `Setting`."""

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Name each field, secrets masked; `repr` and tracebacks show no other."""
        shown = []
        for name, setting in table(type(self)).items():
            value = getattr(self, name)
            if setting.secret and value is not None:
                value = setting.redact(value) if setting.redact else "***"
            shown.append((name, value))
        return shown

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({fields})"

    def as_environment(self) -> dict[str, str]:
        """Return the variables from which `load` makes these settings: for a child process."""
        variables = {}
        for name in table(type(self)):
            value = getattr(self, name)
            if isinstance(value, bool):
                variables[variable_of(name)] = "on" if value else "off"
            elif value is not None:
                variables[variable_of(name)] = str(value)
        return variables


#: Settings that every long-running command has.
LOG_LEVEL: Final = Setting(
    "least severe level to log", one_of("debug", "info", "warning", "error", "critical")
)
LOG_FORMAT: Final = Setting(
    "form of the log; auto: console on a terminal, json otherwise",
    one_of("auto", "json", "console"),
)


# -------------------------------------------------------------------------------- the table


class Settings(Declared, frozen=True, kw_only=True):
    """Everything that can be set about one service process; made by `load`."""

    host: Annotated[str, Setting("address to listen on", HOST)] = "127.0.0.1"
    port: Annotated[int, Setting("TCP port to listen on", whole_number(1, 65_535))] = 8000
    redis_url: Annotated[
        str | None,
        Setting(
            "the Redis or Valkey that all replicas share; none: an embedded Valkey in the data"
            " folder. A password belongs in the environment, not on the command line",
            REDIS_URL,
            secret=True,
            redact=redact_url,
        ),
    ] = None
    data_dir: Annotated[Path, Setting("folder of the embedded Valkey", PATH)] = Path(".sekring")
    tokens_file: Annotated[
        Path | None, Setting("TOML file with the hashed API tokens and their roles", PATH)
    ] = None
    tokens: Annotated[
        str | None,
        Setting(
            "API tokens in the environment itself, in place of a file",
            matching(r".+", "text"),
            secret=True,
            option=False,
        ),
    ] = None
    workers: Annotated[int, Setting("server processes", whole_number(1, 64))] = 1
    log_level: Annotated[str, LOG_LEVEL] = "info"
    log_format: Annotated[str, LOG_FORMAT] = "auto"
    partitions: Annotated[
        int,
        Setting(
            "parts that the instances are spread over; fixed at the first use of a keyspace",
            whole_number(1, 1024),
        ),
    ] = 64
    key_prefix: Annotated[
        str,
        Setting(
            "beginning of every key in Redis",
            # No braces: they would move the hash tag, and with it the slot in a cluster.
            matching(r"[A-Za-z0-9_.:-]{1,64}", "1 to 64 of A-Z a-z 0-9 _ . : -"),
        ),
    ] = "sekring"
    redis_timeout_ms: Annotated[
        int,
        Setting("deadline of one call to Redis", whole_number(10, 60_000, "milliseconds")),
    ] = 500
    staleness_ms: Annotated[
        int,
        Setting(
            "how old a replica's view may be to answer a permit without Redis; 0: it never answers",
            whole_number(0, 60_000, "milliseconds"),
        ),
    ] = 500
    replay_max: Annotated[
        int,
        Setting(
            "reports that a replica keeps while Redis is away, at most", whole_number(1, 10_000_000)
        ),
    ] = 100_000
    confirm_replicas: Annotated[
        int | None,
        Setting(
            "Redis replicas that must have a trip or reset, else it is made again until they do, so"
            " that no failover undoes it; none: 1 with Sentinel and Cluster, else 0",
            whole_number(0, 10),
        ),
    ] = None
    request_timeout_ms: Annotated[
        int,
        Setting("deadline of one request", whole_number(100, 600_000, "milliseconds")),
    ] = 5000
    keep_alive_ms: Annotated[
        int,
        Setting(
            "how long a connection may wait for its next request; longer than a load balancer"
            " keeps one, or it sends requests into a closing connection",
            whole_number(100, 3_600_000, "milliseconds"),
        ),
    ] = 75_000
    drain_ms: Annotated[
        int,
        Setting(
            "how long /ready says 503 after SIGTERM before the socket closes",
            whole_number(0, 600_000, "milliseconds"),
        ),
    ] = 1000
    events_heartbeat_ms: Annotated[
        int,
        Setting(
            "how often an event stream says that it lives while nothing happens",
            whole_number(10, 600_000, "milliseconds"),
        ),
    ] = 15_000
    webhook_timeout_ms: Annotated[
        int,
        Setting("deadline of one webhook attempt", whole_number(10, 60_000, "milliseconds")),
    ] = 10_000
    webhook_retry_ms: Annotated[
        int,
        Setting(
            "wait after a webhook attempt that failed; doubles with each further one",
            whole_number(1, 3_600_000, "milliseconds"),
        ),
    ] = 1_000
    webhook_retry_max_ms: Annotated[
        int,
        Setting(
            "the longest wait between webhook attempts",
            whole_number(1, 86_400_000, "milliseconds"),
        ),
    ] = 300_000
    webhook_lease_ms: Annotated[
        int,
        Setting(
            "after how long another replica delivers the webhooks of one that was killed",
            whole_number(500, 60_000, "milliseconds"),
        ),
    ] = 5_000
    lease_ttl_ms: Annotated[
        int,
        Setting(
            "how long a gateway owns a session without a renewal; the same on every replica. Below"
            " 4000 a worker that hangs may outlive it by a moment",
            whole_number(1_000, 120_000, "milliseconds"),
        ),
    ] = 15_000
    qr_wait_ms: Annotated[
        int,
        Setting(
            "how long a request waits for what a gateway has to do: a QR code, a pairing code, a"
            " message sent; shorter than a load balancer's patience",
            whole_number(100, 120_000, "milliseconds"),
        ),
    ] = 30_000
    seal_key: Annotated[
        str | None,
        Setting(
            "key with which QR codes, messages and pairing codes are encrypted in Redis, the same"
            " for all replicas; none: they are readable there until they expire",
            SEAL_KEY,
            secret=True,
            option=False,
        ),
    ] = None
    insecure: Annotated[
        bool, Setting("serve other machines even though no token is configured", SWITCH)
    ] = False

    @property
    def replicas_to_confirm(self) -> int:
        """How many of Redis' replicas must have a trip, a reset or a lease."""
        if self.confirm_replicas is not None:
            return self.confirm_replicas
        alone = self.redis_url is None or RedisUrl.parse(self.redis_url).kind == "single"
        return int(not alone)


S = TypeVar("S", bound=Declared)


class Loaded(msgspec.Struct, Generic[S], frozen=True):
    """Settings, and what is to be said about where they came from."""

    settings: S
    #: One line for each variable that looks like ours and is not.
    warnings: tuple[str, ...]


def table(of: type[Declared] = Settings) -> dict[str, Setting]:
    """Every setting by its field name, in the order of the declaration."""
    hints = get_type_hints(of, include_extras=True)
    return {name: get_args(hints[name])[1] for name in of.__struct_fields__}


def variable_of(name: str) -> str:
    """Name the environment variable of a setting: `port` is `SEKRING_PORT`."""
    return PREFIX + name.upper()


def secret_files(of: type[Declared]) -> dict[str, str]:
    """Name the variable that holds the path of a secret's file, by the secret's field name.

    Not where a setting has that name: the file of tokens is more than one token in a file.
    """
    return {
        name: variable_of(name) + SUFFIX
        for name, setting in table(of).items()
        if setting.secret and name + SUFFIX.lower() not in of.__struct_fields__
    }


def option_of(name: str) -> str:
    """Name the option of a setting: `redis_url` is `--redis-url`."""
    return "--" + name.replace("_", "-")


# ---------------------------------------------------------------------------------- loading


def load(
    environ: Mapping[str, str],
    options: Mapping[str, object] | None = None,
    *,
    others: Iterable[type[Declared]] = (),
) -> Loaded[Settings]:
    """Read the settings of `sekring serve`; see `load_as`."""
    return load_as(Settings, environ, options, command="serve", others=others)


def load_as(
    of: type[S],
    environ: Mapping[str, str],
    options: Mapping[str, object] | None = None,
    *,
    command: str,
    others: Iterable[type[Declared]] = (),
) -> Loaded[S]:
    """Read settings from the environment and from parsed options, which go first.

    `options` are the attributes that `add_options` leaves on the namespace (`vars(namespace)`);
    other entries are passed over. Variables of the `others` are known to belong to another
    command. Raises `SettingsError` on the first wrong value.
    """
    given: dict[str, object] = {}
    files = secret_files(of)
    for name, setting in table(of).items():
        option = (options or {}).get(name)
        if option is not None:
            given[name] = _parse(option_of(name), str(option), setting)
        elif text := environ.get(variable_of(name)):
            given[name] = _parse(variable_of(name), text, setting)
        elif path := environ.get(files.get(name, "")):
            given[name] = _parse(files[name], read_secret(files[name], path), setting)
    return Loaded(of(**given), _warnings(environ, command, (of, *others)))


def _parse(source: str, text: str, setting: Setting) -> object:
    try:
        return setting.takes.parse(text)
    except ValueError:
        shown = "a value that may hold a secret" if setting.secret else repr(text)
        # Without the cause: its text is the value.
        raise SettingsError(f"{source}: got {shown}, takes {setting.takes.words}.") from None


def _warnings(
    environ: Mapping[str, str], command: str, tables: Iterable[type[Declared]]
) -> tuple[str, ...]:
    known = set(CLIENT_VARIABLES)
    for one in tables:
        known |= {*map(variable_of, table(one)), *secret_files(one).values()}
    lines = []
    for variable in sorted(environ):
        ours = variable.startswith(PREFIX) and not variable.startswith(TEST_PREFIX)
        if ours and variable not in known:
            near = difflib.get_close_matches(variable, sorted(known), n=1, cutoff=0.8)
            hint = f"did you mean {near[0]}?" if near else f"see `sekring {command} --help`."
            lines.append(f"{variable} is not a setting and has no effect; {hint}")
    return tuple(lines)


def add_options(parser: argparse.ArgumentParser, of: type[Declared] = Settings) -> None:
    """Give `parser` an option for each setting.

    Values stay as typed (`None` where absent) and are parsed by `load`, so that an option and its
    variable refuse in the same words.
    """
    # `--tokens` would pass for the beginning of `--tokens-file`, and the token for a path.
    parser.allow_abbrev = False
    hints, files = get_type_hints(of), secret_files(of)
    defaults = {field.name: field.default for field in msgspec.structs.fields(of)}
    for name, setting in table(of).items():
        if not setting.option:
            continue
        default = defaults[name]
        switch = hints[name] is bool
        shown = "none" if default is None else ("off", "on")[default] if switch else default
        text = f"{setting.help}; {setting.takes.words} [default: {shown}] [{variable_of(name)}]"
        if name in files:
            text += f", or in a file [{files[name]}]"
        # argparse reads % as the beginning of a placeholder.
        text = text.replace("%", "%%")
        if switch:
            parser.add_argument(
                option_of(name), dest=name, action=argparse.BooleanOptionalAction, help=text
            )
        else:
            parser.add_argument(
                option_of(name), dest=name, metavar=name.rpartition("_")[2].upper(), help=text
            )
