"""The tests' proxy does to a connection what it says, seen from a client of a real server."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.proxy import Proxy
from tests.servers import RedisServer, free_port, wait_until

#: Longer than a loopback server needs for an answer, short enough for a test.
PATIENCE_S = 0.3


@pytest.fixture
def proxy(redis_process: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_process.port) as proxy:
        yield proxy
    with redis_process.client() as client:
        client.flushall()  # the keys are no keys of ours


@pytest.fixture
def direct(redis_process: RedisServer) -> Iterator[redis.Redis]:
    """A client that does not go by way of the proxy."""
    with redis_process.client() as client:
        yield client


@pytest.fixture
def client(proxy: Proxy) -> Iterator[redis.Redis]:
    """A client by way of the proxy, already connected, that never connects anew by itself."""
    with one_connection(proxy) as client:
        client.ping()
        yield client


def one_connection(proxy: Proxy, patience_s: float = PATIENCE_S) -> redis.Redis:
    return redis.Redis(
        port=proxy.port,
        single_connection_client=True,
        socket_timeout=patience_s,
        socket_connect_timeout=patience_s,
        retry=Retry(NoBackoff(), 0),
    )


def works(proxy: Proxy) -> bool:
    with one_connection(proxy) as client:
        return bool(client.ping())


def test_it_passes_everything_in_its_order(client: redis.Redis) -> None:
    large = bytes(range(256)) * 16_384  # 4 MiB: more than any buffer on the way
    client.set("large", large)
    with client.pipeline(transaction=False) as pipeline:
        for _ in range(1_000):
            pipeline.incr("count")
        assert pipeline.execute() == list(range(1, 1_001))
    assert client.get("large") == large


def test_it_carries_many_connections(proxy: Proxy, direct: redis.Redis) -> None:
    def count() -> None:
        with one_connection(proxy, patience_s=30) as client:
            for _ in range(20):
                client.incr("count")

    threads = [threading.Thread(target=count) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert direct.get("count") == b"1000"
    wait_until(lambda: proxy.connections == 0, "closed connections to be forgotten")


def test_a_delay_goes_both_ways_and_keeps_the_order(proxy: Proxy, client: redis.Redis) -> None:
    proxy.delay(60)
    started = time.monotonic()
    with client.pipeline(transaction=False) as pipeline:
        for number in range(5):
            pipeline.rpush("list", number)
        assert pipeline.execute() == [1, 2, 3, 4, 5]
    assert time.monotonic() - started >= 0.12
    assert client.lrange("list", 0, -1) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_cut_resets_connections_and_refuses_new_ones(proxy: Proxy, client: redis.Redis) -> None:
    proxy.cut()
    with pytest.raises(redis.ConnectionError, match=r"(?i)reset|closed"):
        client.ping()
    with pytest.raises(redis.ConnectionError, match="refused"):
        works(proxy)
    proxy.resume()
    assert works(proxy)


def test_a_black_hole_takes_everything_and_answers_nothing(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.black_hole()
    with pytest.raises(redis.TimeoutError):
        client.set("a", 1)
    with pytest.raises(redis.TimeoutError):  # while reading: connecting succeeded
        works(proxy)
    assert direct.get("a") is None

    proxy.resume()

    assert works(proxy)
    assert direct.get("a") is None, "what is lost stays lost"


def test_after_a_black_hole_a_connection_with_a_gap_is_reset(
    proxy: Proxy, client: redis.Redis
) -> None:
    connection = client.connection
    assert connection
    proxy.black_hole()
    connection.send_command("PING")  # type: ignore[no-untyped-call]
    with pytest.raises(redis.TimeoutError):
        connection.read_response(disconnect_on_error=False)

    proxy.resume()

    with pytest.raises(redis.ConnectionError):
        connection.read_response()


def test_a_connection_that_slept_through_a_black_hole_goes_on(
    proxy: Proxy, client: redis.Redis
) -> None:
    proxy.black_hole()
    proxy.resume()
    assert client.ping()


def test_what_is_held_arrives_in_the_end_and_so_does_its_answer(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    connection = client.connection
    assert connection
    proxy.hold()
    connection.send_command("SET", "a", 1)  # type: ignore[no-untyped-call]
    with pytest.raises(redis.TimeoutError):
        connection.read_response(disconnect_on_error=False)
    assert direct.get("a") is None

    proxy.resume()

    assert connection.read_response() == b"OK"
    assert direct.get("a") == b"1"


def test_what_is_held_arrives_even_if_its_sender_has_gone(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    """Whoever gave up on an answer does not thereby take his command back."""
    proxy.hold()
    with socket.create_connection(("127.0.0.1", proxy.port)) as newcomer:
        newcomer.sendall(b"INCR count\r\n")
    with pytest.raises(redis.TimeoutError):
        client.incr("count")
    client.close()

    proxy.resume()

    wait_until(lambda: direct.get("count") == b"2", "both commands to arrive")


def test_half_open_towards_the_client_loses_the_answer_only(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.half_open("to_client")
    with pytest.raises(redis.TimeoutError):
        client.set("a", 1)
    assert direct.get("a") == b"1"
    assert works(proxy), "new connections are as good as ever"


def test_half_open_towards_the_server_loses_the_command(
    proxy: Proxy, client: redis.Redis, direct: redis.Redis
) -> None:
    proxy.half_open("to_server")
    with pytest.raises(redis.TimeoutError):
        client.set("a", 1)
    assert direct.get("a") is None
    assert works(proxy), "new connections are as good as ever"


def test_half_open_may_also_be_the_fate_of_new_connections(
    proxy: Proxy, client: redis.Redis
) -> None:
    proxy.half_open(new_pass=False)
    with pytest.raises(redis.TimeoutError):
        client.ping()
    with pytest.raises(redis.TimeoutError):
        works(proxy)
    proxy.resume()
    assert works(proxy)


def test_a_server_that_is_away_is_away_behind_the_proxy_too(proxy: Proxy) -> None:
    proxy.server_port = free_port()
    with pytest.raises(redis.ConnectionError):
        works(proxy)
