"""Signatures as Standard Webhooks has them."""

import base64

import pytest

from sekring.webhooks.signing import headers_of, key_of, new_secret


def test_it_signs_as_the_convention_does() -> None:
    """The example that the convention's own libraries test with."""
    headers = headers_of(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_new_secret_is_one_and_no_two_are_the_same() -> None:
    assert len(key_of(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "word",
        base64.b64encode(bytes(32)).decode(),
        f"whsec_{base64.b64encode(bytes(23)).decode()}",
        f"whsec_{base64.b64encode(bytes(65)).decode()}",
        f"whsec_{base64.b64encode(bytes(32)).decode()}!",
        f"WHSEC_{base64.b64encode(bytes(32)).decode()}",
        f"whsec_{'ä' * 32}",
    ],
)
def test_what_is_no_secret_is_refused_and_not_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^no secret$"):
        key_of(secret)
