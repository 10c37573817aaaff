"""What time means for a lease, without waiting for it."""

import pytest

from sekring.gateway.leases import Holding, Terms, excess

#: A worker that has to be killed by the kernel takes a second and a half.
WORKER_S = 1.5


def holdings(connected: int, others: int) -> list[Holding]:
    made = [Holding(f"s{number}", 1, 10.0) for number in range(connected + others)]
    for holding in made[:connected]:
        holding.connected = True
    return made


@pytest.mark.parametrize("ttl_s", [3.6, 5, 6, 15, 60, 120])
def test_all_has_ended_before_the_lease_has(ttl_s: float) -> None:
    assert Terms(ttl_s).until_s(100) + WORKER_S < 100 + ttl_s


@pytest.mark.parametrize("ttl_s", [5, 6, 15, 60, 120])
def test_two_renewals_may_fail_before_it_is_too_late(ttl_s: float) -> None:
    terms = Terms(ttl_s)
    third_s = terms.renew_every_s + 2 * (terms.within_s + terms.retry_s)

    assert third_s < terms.until_s(0)


def test_the_usual_lease_is_renewed_at_a_third_and_counts_as_over_at_four_fifths() -> None:
    terms = Terms(15)

    assert (terms.renew_every_s, terms.until_s(0)) == (5, 12)


@pytest.mark.parametrize("ttl_s", [1, 2, 3])
def test_the_shortest_leases_last_a_while_all_the_same(ttl_s: float) -> None:
    terms = Terms(ttl_s)

    assert terms.until_s(0) == ttl_s / 2
    assert 2 * terms.renew_every_s < terms.until_s(0)


def test_a_renewal_never_shortens_a_lease() -> None:
    holding = Holding("s", 1, 10.0)

    holding.renew(9.0)
    assert (holding.is_over(9.9), holding.is_over(10.0)) == (False, True)

    holding.renew(11.0)
    assert (holding.is_over(10.0), holding.is_over(11.0)) == (False, True)


def test_a_lost_lease_is_over_at_once() -> None:
    holding = Holding("s", 1, 10.0)
    holding.lost = True

    assert holding.is_over(0.0)


@pytest.mark.parametrize(
    ("held", "share", "too_many"),
    [(5, 5, False), (6, 5, False), (7, 5, True), (44, 40, False), (45, 40, True), (2, 0, True)],
)
def test_a_session_or_a_tenth_more_than_the_share_is_no_reason_to_move(
    held: int, share: int, *, too_many: bool
) -> None:
    assert (excess(holdings(held, 0), share) is not None) is too_many


def test_one_that_is_not_connected_is_handed_over_first() -> None:
    found = excess(holdings(5, 2), 3)

    assert found is not None
    assert not found.connected


def test_what_is_being_ended_does_not_count_and_is_not_chosen() -> None:
    held = holdings(0, 7)
    held[0].ending = "it goes"

    assert excess(held, 5) is None
    held.append(Holding("more", 1, 10.0))
    assert excess(held, 5) is held[1]
