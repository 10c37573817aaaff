"""Redis URLs: what each form names, and what becomes of credentials and options."""

import pytest

from sekring.errors import SettingsError
from sekring.redisurl import RedisUrl
from sekring.store.connection import Address, Connector
from sekring.store.redis import RedisLink
from sekring.store.sentinel import sentinels_own


def test_a_server() -> None:
    url = RedisUrl.parse("rediss://user:p%40ss@host/3?ssl_ca_certs=/ca.pem")

    assert (url.kind, url.tls, url.nodes, url.database) == ("single", True, (("host", 6379),), 3)
    assert url.plain() == "rediss://user:p%40ss@host:6379/3?ssl_ca_certs=/ca.pem"


def test_sentinels() -> None:
    url = RedisUrl.parse(
        "redis+sentinel://u:w@a,b:26380,[::1]/my%20service/2?sentinel_password=o%2Fwn&protocol=3"
    )

    assert url.kind == "sentinel"
    assert url.nodes == (("a", 26379), ("b", 26380), ("::1", 26379))
    assert (url.service, url.database) == ("my service", 2)
    assert url.query == "protocol=3"
    assert (url.sentinel_username, url.sentinel_password) == (None, "o/wn")


def test_sentinels_get_their_own_credentials_and_no_others() -> None:
    text = "redis+sentinel://user:word@a/s/2?sentinel_username=u&sentinel_password=o%2Fwn&db=4"

    own = Connector(sentinels_own(RedisUrl.parse(text)), timeout_s=1)
    connection = own.connection(Address("a", 26379))
    assert (connection.username, connection.password, connection.db) == ("u", "o/wn", 0)

    none = Connector(sentinels_own(RedisUrl.parse("redis+sentinel://u:w@a/s/2")), timeout_s=1)
    connection = none.connection(Address("a", 26379))
    assert (connection.username, connection.password, connection.db) == (None, None, 0)


def test_a_cluster() -> None:
    url = RedisUrl.parse("rediss+cluster://:word@a,[::1]:7000")

    assert (url.kind, url.tls, url.nodes) == ("cluster", True, (("a", 6379), ("::1", 7000)))
    assert url.plain() == "rediss://:word@a:6379/0"


def test_credentials_and_options_reach_every_connection() -> None:
    url = RedisUrl.parse("redis+cluster://user:p%40ss@a,b:7000?client_name=sekring&timeout=3")

    connection = Connector(url, timeout_s=1).connection(Address("c", 7001))

    assert (connection.username, connection.password) == ("user", "p@ss")
    assert connection.client_name == "sekring"


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@host?ssl_ca_certs=x",
        "redis+cluster://:hunter2@host?hunter2=1",
        "rediss://:hunter2@host?ssl_cert_reqs=hunter2",
        "redis://:hunter2@host?socket_read_size=hunter2",
    ],
)
def test_an_option_that_does_not_exist_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(SettingsError, match="SEKRING_REDIS_URL") as caught:
        RedisLink(url, timeout_ms=500)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__
