"""Stations that could be wrong for one reason count as one."""

from alerts.quorum import Domains, independent_count


def station(name: str, gateway: str | None = None, power: str | None = None, vendor: str | None = None) -> Domains:
    return Domains(station=name, gateway=gateway, power=power, vendor=vendor)


OWN = station("a", "g1", "p1", "v1")


def test_three_stations_behind_one_link_are_one() -> None:
    assert independent_count(OWN, [station("b", "g1", "p2", "v2"), station("c", "g1", "p3", "v3")]) == 1


def test_each_common_domain_alone_is_enough_to_doubt() -> None:
    for other in (station("b", "g1", "p2", "v2"), station("b", "g2", "p1", "v2"), station("b", "g2", "p2", "v1")):
        assert independent_count(OWN, [other]) == 1
    assert independent_count(OWN, [station("b", "g2", "p2", "v2")]) == 2


def test_what_is_not_known_may_be_shared() -> None:
    assert independent_count(OWN, [station("b", None, "p2", "v2"), station("c"), station("d", "g2", "", "v2")]) == 1
    assert independent_count(station("a"), [station("b", "g2", "p2", "v2")]) == 1


def test_the_others_must_be_independent_of_each_other_too() -> None:
    b, c = station("b", "g2", "p2", "v2"), station("c", "g2", "p3", "v3")
    assert independent_count(OWN, [b, c]) == 2
    assert independent_count(OWN, [b, c, station("d", "g4", "p4", "v4")]) == 3


def test_the_largest_set_is_found_where_the_first_choice_is_a_bad_one() -> None:
    hub = station("b", "g2", "p3", "v4")
    leaves = [station("c", "g2", "p2", "v2"), station("d", "g3", "p3", "v3"), station("e", "g4", "p4", "v4")]
    assert independent_count(OWN, [hub, *leaves]) == 4


def test_a_station_does_not_agree_with_itself() -> None:
    assert independent_count(OWN, [station("a", "g2", "p2", "v2"), OWN]) == 1
