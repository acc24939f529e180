"""Fleet and incident tables: what is read, and what is refused with line, field and reason."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from core.errors import InvalidInput
from itops.fleet import Fleet, exposure_years, read_fleet
from itops.incident import as_known_at, end_of_day, opened_within, read_incidents, repair_times
from itops.table import BadTable

CLASSES = ("server", "switch")
SHANGHAI = ZoneInfo("Asia/Shanghai")
FLEET = """asset_id,device_class,model,commissioned_on,retired_on,site,value
b,server,X1,2022-01-01,,S1,1000.50
a,switch,,2022-07-01,2023-07-01,,
"""


def fleet() -> Fleet:
    return read_fleet(FLEET, known_classes=CLASSES)


def fleet_with(row: str) -> BadTable:
    with pytest.raises(BadTable) as caught:
        read_fleet(FLEET + row + "\n", known_classes=CLASSES)
    assert isinstance(caught.value, InvalidInput)
    return caught.value


def incidents_with(row: str) -> BadTable:
    with pytest.raises(BadTable) as caught:
        read_incidents("asset_id,device_class,opened,restored,cause\n" + row + "\n", fleet=fleet(), time_zone=SHANGHAI)
    return caught.value


def test_a_fleet_is_ordered_and_blank_is_unknown() -> None:
    first, second = fleet().assets
    assert (first.asset_id, second.asset_id) == ("a", "b")
    assert first.value is None
    assert first.retired_on == date(2023, 7, 1)
    assert second.value == Decimal("1000.50")
    assert second.retired_on is None


def test_exposure_is_counted_by_the_day_inside_the_window() -> None:
    years = exposure_years(fleet().assets, date(2022, 1, 1), date(2024, 1, 1))
    assert years["server"] == pytest.approx(730 / 365.25)
    assert years["switch"] == pytest.approx(365 / 365.25)
    assert exposure_years(fleet().assets, date(2023, 7, 1), date(2024, 1, 1))["switch"] == 0.0


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ("c,abacus,,2022-01-01,,,", "device_class", "not a known class"),
        ("c,server,,,,,", "commissioned_on", "is blank"),
        ("c,server,,2022-02-30,,,", "commissioned_on", "not a day of the calendar"),
        ("c,server,,01/02/2022,,,", "commissioned_on", "YYYY-MM-DD"),
        ("c,server,,2022-01-02,2022-01-01,,", "retired_on", "before commissioned_on"),
        ("b,server,,2022-01-01,,,", "asset_id", "comes twice; first on line 2"),
        ("c,server,,2022-01-01,,,-1", "value", "is negative"),
        ("c,server,,2022-01-01,,,NaN", "value", "finite"),
        (",server,,2022-01-01,,,", "asset_id", "is blank"),
        ("c,server,,2022-01-01,,,1e400", "value", "above 1e15"),
        ("c,server,,1900-01-01,,,", "commissioned_on", "is before 1970"),
        ("c,server,,2022-01-01,,,1,9", "row", "8 cells where the header has 7"),
    ],
)
def test_a_bad_fleet_row_is_refused(row: str, field: str, reason: str) -> None:
    (bad,) = fleet_with(row).bad_rows
    assert bad.line == 4
    assert bad.field == field
    assert reason in bad.reason


def test_a_fleet_without_a_device_says_so() -> None:
    with pytest.raises(BadTable, match="line 1, asset_id: the table has a header and no device"):
        read_fleet("asset_id,device_class,commissioned_on\n", known_classes=["server"])


def test_every_bad_row_is_reported_at_once() -> None:
    error = fleet_with("c,abacus,,2022-01-01,,,\nd,server,,,,,")
    assert [(row.line, row.field) for row in error.bad_rows] == [(4, "device_class"), (5, "commissioned_on")]
    assert "line 4, device_class 'abacus'" in str(error)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadTable, match="commissioned_on: this column is missing"):
        read_fleet("asset_id,device_class\nx,server\n", known_classes=CLASSES)


def test_unknown_columns_are_told_not_hidden() -> None:
    found = read_fleet("asset_id,device_class,commissioned_on,colour\nx,server,2022-01-01,red\n", known_classes=CLASSES)
    assert found.ignored_columns == ("colour",)


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ("a,switch,2022-06-30 23:59,2022-07-01 10:00,", "opened", "its age is negative"),
        ("a,switch,2023-07-02 00:00,2023-07-02 10:00,", "opened", "after decommissioning"),
        ("b,server,2022-05-01 10:00,2022-05-01 09:00,", "restored", "before opened"),
        ("z,server,2022-05-01 10:00,,", "asset_id", "not in the fleet"),
        ("b,switch,2022-05-01 10:00,,", "device_class", "'server' in the fleet"),
        ("b,server,,,", "opened", "is blank"),
        ("b,server,2022-05-01,,", "opened", "not a time"),
        ("b,server,2022-05-01 10:00,0,", "restored", "not a time"),
    ],
)
def test_a_bad_incident_row_is_refused(row: str, field: str, reason: str) -> None:
    (bad,) = incidents_with(row).bad_rows
    assert bad.line == 2
    assert bad.field == field
    assert reason in bad.reason


def test_the_same_outage_twice_is_refused() -> None:
    error = incidents_with("b,server,2022-05-01 10:00,,\nb,server,2022-05-01T02:00:00Z,,")
    assert "comes twice" in str(error)


def test_times_without_an_offset_are_local_and_an_open_ticket_is_censored() -> None:
    table = read_incidents(
        "asset_id,opened,restored\nb,2023-01-02 08:00,2023-01-02 12:30\nb,2023-01-03T00:00:00+00:00,\n",
        fleet=fleet(),
        time_zone=SHANGHAI,
    )
    first, second = table.incidents
    assert first.opened == datetime(2023, 1, 2, 0, 0, tzinfo=UTC)
    assert second.restored is None
    times = repair_times(table.incidents, end_of_day(date(2023, 1, 3), SHANGHAI))
    assert times.hours.tolist() == [4.5, 16.0]
    assert times.restored.tolist() == [True, False]


def test_the_record_as_of_a_day_forgets_what_came_later() -> None:
    table = read_incidents(
        "asset_id,opened,restored\nb,2023-01-02 08:00,2023-02-01 00:00\nb,2023-03-01 08:00,2023-03-01 09:00\n",
        fleet=fleet(),
        time_zone=SHANGHAI,
    )
    moment = end_of_day(date(2023, 1, 10), SHANGHAI)
    (known,) = as_known_at(table.incidents, moment)
    assert known.restored is None
    assert opened_within((known,), datetime(2023, 1, 2, tzinfo=UTC), moment) == (known,)
    assert opened_within((known,), datetime(2023, 1, 3, tzinfo=UTC), moment) == ()


def test_a_zero_byte_is_named_and_not_kept() -> None:
    with pytest.raises(BadTable, match=r"line 2, model.*holds a zero byte"):
        read_fleet("asset_id,device_class,commissioned_on,model\na,server,2024-01-01,x\0y\n", known_classes=["server"])
