"""Which test reads which sample, and which test holds each trap that the samples' README names."""

import fnmatch
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
FEEDS, CAP, SENML = "unit/ingest/test_feed_samples.py", "unit/ingest/test_cap_judge.py", "unit/ingest/test_senml.py"

#: pattern -> (file, test)
SAMPLES = {
    "README.md": ("unit/ingest/test_sample_table.py", "test_every_sample_has_a_test"),
    "atcf/*.dat": ("unit/geo/test_track_files.py", "test_real_decks_are_read"),
    "cap/*.cap": (CAP, "test_every_sample_ends_in_its_verdict"),
    "cap/*.xml": (CAP, "test_every_sample_ends_in_its_verdict"),
    "cap/*.atom": (FEEDS, "test_indexes_lead_to_their_messages"),
    "cap/cap12.xsd": (CAP, "test_structure_refuses_what_the_schema_refuses"),
    "cap/ifrc_alerthub_feeds.json": (FEEDS, "test_the_list_of_national_feeds_is_read_whole_or_not"),
    "cn/*": (FEEDS, "test_chinese_warnings_keep_their_colour"),
    "firms/*.csv": (FEEDS, "test_fires_are_in_utc_with_either_confidence"),
    "floods/scoring.md": ("unit/ingest/test_forecast.py", "test_"),
    "floods/ditwah2025_*": ("integration/test_replay.py", "test_the_flood_raises_warnings_at_the_official_levels"),
    "floods/dmc_bulletins/*": (FEEDS, "test_the_bulletins_of_sri_lanka_are_in_metres_and_in_colombo_time"),
    "floods/hubeau_*": (FEEDS, "test_hubeau_levels_are_millimetres_and_none_is_qualified"),
    "floods/usgs_*": (FEEDS, "test_usgs_rows_are_read"),
    "mqtt/*": ("integration/test_replay.py", "test_the_dirty_stream_ends_as_the_rows_it_should_and_again_changes_nothing"),
    "nws/*": (FEEDS, "test_nws_alerts_without_a_geometry_keep_their_zones"),
    "senml/*.json": (SENML, "test_the_rfc_examples_resolve_as_the_rfc_says"),
    "sensorthings/*": (FEEDS, "test_sensorthings_in_its_three_forms"),
    "sparkplug/*": (FEEDS, "test_sparkplug_a_node_lives_from_its_birth_to_its_death"),
    "usgs_quake/*": (FEEDS, "test_usgs_summary_feeds_are_read"),
    "usgs_water/*": (FEEDS, "test_usgs_water_answers_are_read"),
    "wis2/*": (FEEDS, "test_wis2_examples_have_the_verdict_of_the_schema"),
}  # fmt: skip

#: Samples that nothing of ours reads, and why.
UNREAD = {
    "senml/*.xml": "SenML is taken as JSON",
    "senml/*.hex": "SenML is taken as JSON, not as CBOR or EXI",
    "cap/naads_x509_cert.pem": "certificate of a sender whose signed sample is not among the files",
}

#: trap, in the README's words -> (file, test)
TRAPS = {
    "CAP 1.1 and fail the 1.2 XSD": (CAP, "test_every_sample_ends_in_its_verdict"),
    'CAP polygons are "lat,lon"': ("unit/alerts/test_cap.py", "test_every_state_of_a_warning_is_valid_cap_and_comes_back"),
    "NWS alerts often have geometry null": (FEEDS, "test_nws_alerts_without_a_geometry_keep_their_zones"),
    "Hub'Eau levels are mm": (FEEDS, "test_hubeau_levels_are_millimetres_and_none_is_qualified"),
    "USGS feet": (FEEDS, "test_usgs_no_value_is_no_level_and_feet_are_feet"),
    "Sri Lanka metres": (FEEDS, "test_the_bulletins_of_sri_lanka_are_in_metres_and_in_colombo_time"),
    "USGS missing value is -999999": (FEEDS, "test_usgs_no_value_is_no_level_and_feet_are_feet"),
    "Nagalagam Street is in feet": (FEEDS, "test_the_bulletins_of_sri_lanka_are_in_metres_and_in_colombo_time"),
    "Hub'Eau and US floods have NO official stage": (FEEDS, "test_hubeau_levels_are_millimetres_and_none_is_qualified"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "test"), sorted({*SAMPLES.values(), *TRAPS.values()}))
def test_the_tests_of_the_table_are_there(file: str, test: str) -> None:
    assert re.search(rf"^def {test}", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE), f"{file}::{test}"


def test_every_sample_has_a_test(shared_data: Path) -> None:
    folder = shared_data / "warning"
    for file in sorted(one for one in folder.rglob("*") if one.is_file()):
        name = file.relative_to(folder).as_posix()
        read = [pattern for pattern in SAMPLES if fnmatch.fnmatch(name, pattern)]
        unread = [pattern for pattern in UNREAD if fnmatch.fnmatch(name, pattern)]
        assert len(read) + len(unread) == 1, f"{name}: {read or unread or 'no test reads it'}"


def test_every_trap_stands_in_the_readme(shared_data: Path) -> None:
    told = " ".join((shared_data / "warning" / "README.md").read_text(encoding="utf-8").split())
    assert [trap for trap in TRAPS if trap not in told] == []
