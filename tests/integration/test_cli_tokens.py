"""Tokens on the command line's side: making them, checking a file, and what each role may do."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from sekring.tokens import NewToken, Role
from tests.commands import Here, in_pipe
from tests.servers import RedisServer
from tests.serving import ServiceProcess

ID = "6281234567890"
TOKENS = {role: NewToken.make(f"the-{role}", role) for role in Role}


@pytest.fixture(scope="module")
def process(redis_process: RedisServer) -> Iterator[ServiceProcess]:
    """A service that knows one token of each role."""
    entries = [made.entry for made in TOKENS.values()]
    tokens = " ".join(f"{entry.name}={entry.role}:{entry.hash}" for entry in entries)
    with ServiceProcess(redis_process.url, tokens=tokens) as process:
        yield process


@pytest.fixture
def service(
    process: ServiceProcess,
    redis_server: RedisServer,  # noqa: ARG001 - empties it
) -> ServiceProcess:
    return process


@pytest.fixture
def sekring(
    service: ServiceProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Here:
    return Here(service.url, monkeypatch, capsys)


READING = (["status"], ["status", ID], ["history", ID], ["policy"], ["policy", ID], ["health"])
CHANGING = (
    ["reset", ID],
    ["reset", "--all", "--yes"],
    ["trip", ID, "--reason", "x"],
    ["disable", ID, "--reason", "x"],
    ["policy", "set", "probes=1"],
    ["policy", "unset", "--instance", ID],
)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_role_may_read(sekring: Here, words: list[str], role: Role) -> None:
    assert sekring(*words, SEKRING_TOKEN=TOKENS[role].token).code == 0


@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_an_operator_may_change_things(sekring: Here, words: list[str]) -> None:
    assert sekring(*words, SEKRING_TOKEN=TOKENS[Role.OPERATOR].token).code == 0


@pytest.mark.parametrize("role", [Role.VIEWER, Role.GATEWAY])
@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_the_other_roles_may_not(sekring: Here, words: list[str], role: Role) -> None:
    ended = sekring(*words, SEKRING_TOKEN=TOKENS[role].token)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"sekring: The token 'the-{role}' has the role {role}, which may")


@pytest.mark.parametrize("words", [["status", ID], ["reset", ID], ["health"]], ids=" ".join)
@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "A token is missing"),
        ("hunter2", "The token is not known to this service."),
        (NewToken.make("x", Role.OPERATOR).token, "The token is not known to this service."),
    ],
    ids=count(),  # not by the tokens, which are random
)
def test_without_a_known_token_nothing_is_told_and_the_variable_is_named(
    sekring: Here, words: list[str], token: str, said: str
) -> None:
    ended = sekring(*words, SEKRING_TOKEN=token)

    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err
    assert ended.err.endswith(" Put a token of this service into SEKRING_TOKEN.\n")
    assert not token or token not in ended.err


def test_who_changed_something_is_in_the_history(sekring: Here) -> None:
    token = TOKENS[Role.OPERATOR].token
    sekring("trip", ID, "--reason", "x", SEKRING_TOKEN=token)

    assert "the-operator" in sekring("history", ID, SEKRING_TOKEN=token).out


# ---------------------------------------------------------------------------- sekring token


def test_a_new_token_and_its_entry_let_a_service_know_it(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    made = in_pipe("", "token", "new", "--role", "operator", "--name", "ops").out
    token = next(line for line in made.splitlines() if line.startswith("skr_"))
    file = tmp_path / "tokens.toml"
    file.write_text(made[made.index("[[token]]") : made.index("Or, without a file")])

    with ServiceProcess(redis_server.url, tokens_file=file) as service:
        known = in_pipe(service.url, "trip", ID, "--reason", "x", SEKRING_TOKEN=token)
        unknown = in_pipe(service.url, "trip", ID, "--reason", "x")

    assert (known.code, unknown.code) == (0, 1)


def test_the_inline_form_lets_a_service_know_it(redis_server: RedisServer) -> None:
    made = in_pipe("", "token", "new", "--role", "viewer").out.splitlines()
    token = next(line for line in made if line.startswith("skr_"))

    with ServiceProcess(redis_server.url, tokens=made[-1]) as service:
        assert in_pipe(service.url, "health", SEKRING_TOKEN=token).code == 0


def test_a_token_is_shown_once_and_its_entry_does_not_hold_it(sekring: Here) -> None:
    one = sekring("token", "new", "--role", "gateway", "--json").json
    other = sekring("token", "new", "--role", "gateway", "--json").json

    assert one["token"] != other["token"]
    assert one["entry"]["name"] != other["entry"]["name"]
    assert one["entry"]["role"] == "gateway"
    assert one["token"].rpartition("_")[2] not in one["entry"]["hash"]


def token_file(folder: Path, *made: NewToken) -> str:
    file = folder / "tokens.toml"
    file.write_text(
        "\n".join(
            f'[[token]]\nname = "{one.entry.name}"\nrole = "{one.entry.role}"\n'
            f'hash = "{one.entry.hash}"'
            for one in made
        )
    )
    return str(file)


def test_a_token_file_is_listed_without_hashes(sekring: Here, tmp_path: Path) -> None:
    ended = sekring("token", "check", token_file(tmp_path, *TOKENS.values()))

    assert ended.code == 0
    assert [line.split()[:2] for line in ended.lines] == [
        ["NAME", "ROLE"],
        *([f"the-{role}", role] for role in Role),
    ]
    assert not any(made.entry.hash in ended.out for made in TOKENS.values())


def test_a_check_says_whose_the_callers_token_is(sekring: Here, tmp_path: Path) -> None:
    file = token_file(tmp_path, TOKENS[Role.VIEWER])

    own = sekring("token", "check", file, SEKRING_TOKEN=TOKENS[Role.VIEWER].token)
    foreign = sekring("token", "check", file, SEKRING_TOKEN=TOKENS[Role.OPERATOR].token)

    assert (own.code, own.lines[-1]) == (0, "SEKRING_TOKEN is the-viewer's (viewer).")
    assert (foreign.code, foreign.lines[-1]) == (1, "SEKRING_TOKEN is none of these.")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "token = 5",
        "[[token",
        '[[token]]\nname = "x"\nrole = "king"\nhash = "0"',
        '[[token]]\nname = "x"\nrole = "viewer"\nhash = "hunter2"',
        '[[token]]\nname = "x"\nrole = "viewer"\nsecret = "hunter2"',
    ],
)
def test_a_file_that_no_service_would_start_with_exits_2(
    sekring: Here, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(content)

    ended = sekring("token", "check", str(file))

    assert (ended.code, ended.out) == (2, "")
    assert "sekring token new" in ended.err


def test_a_file_that_is_not_there_exits_2(sekring: Here, tmp_path: Path) -> None:
    ended = sekring("token", "check", str(tmp_path / "none.toml"))

    assert ended.code == 2
    assert "No such file" in ended.err
