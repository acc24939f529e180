"""Tables as a configuration database exports them: columns under other names, classes in its own words, Parquet."""

import csv
import io
from pathlib import Path
from typing import Final

from core.errors import InvalidInput

#: Our column and the names it goes by elsewhere (ServiceNow cmdb_ci, GLPI, Snipe-IT and common exports).
_FLEET: Final = {
    "asset_id": ("asset_tag", "ci_id", "sys_id", "serial_number", "serial", "hostname", "name"),
    "device_class": ("sys_class_name", "ci_class", "class", "category", "type"),
    "commissioned_on": ("install_date", "installed", "in_service_date", "commissioning", "commissioned", "start_date"),
    "retired_on": ("retirement_date", "decommissioned", "decommissioned_on", "disposal_date"),
    "manufacturer": ("vendor", "make"),
    "model": ("model_id", "model_name", "model_number"),
    "site": ("location", "location_name", "datacenter", "data_center"),
    "value": ("replacement_cost", "replacement_value", "sum_insured"),
    "redundancy": ("redundancy_level",),
    "sla_tier": ("sla", "support_tier"),
    "monitored": ("is_monitored",),
}
_INCIDENTS: Final = {
    "asset_id": ("cmdb_ci", "ci", "ci_id", "asset_tag", "hostname"),
    "opened": ("opened_at", "started", "start", "outage_start", "begin"),
    "restored": ("restored_at", "fixed", "outage_end", "resolved_at", "end"),
    "incident_id": ("number", "ticket", "incident"),
    "cause": ("cause_code", "close_code", "category"),
}
#: Device classes by the words of such a database, in lower case.
_CLASSES: Final = {
    "server": ("cmdb_ci_server", "cmdb_ci_linux_server", "cmdb_ci_win_server", "cmdb_ci_esx_server", "linux server",
               "windows server", "computer server", "esx server"),
    "storage": ("cmdb_ci_storage_device", "cmdb_ci_msd", "storage array", "storage device", "san", "nas"),
    "disk": ("cmdb_ci_disk", "hard disk", "hdd", "ssd", "drive"),
    "switch": ("cmdb_ci_ip_switch", "network switch", "ip switch"),
    "router": ("cmdb_ci_ip_router", "ip router"),
    "firewall": ("cmdb_ci_ip_firewall", "ip firewall"),
    "ups": ("cmdb_ci_ups", "uninterruptible power supply"),
    "cooling": ("cmdb_ci_crac", "crac", "air conditioner", "chiller"),
    "desktop": ("cmdb_ci_computer", "workstation", "personal computer", "pc"),
    "laptop": ("notebook", "portable"),
}  # fmt: skip
_CLASS_OF: Final = {word: name for name, words in _CLASSES.items() for word in words}


def renamed(text: str, table: str) -> str:
    """CSV text with our column names in its header; device classes of a fleet table in our words.

    A column under our own name wins, and then the others are left alone.
    """
    wanted = _FLEET if table == "fleet" else _INCIDENTS
    head, _, rest = text.removeprefix("\ufeff").partition("\n")
    try:
        columns = [cell.strip() for cell in next(csv.reader([head]), [])]
    except csv.Error:
        return text  # the reader of the table says what is wrong with it
    names = dict(zip(columns, columns, strict=True))
    for ours, others in wanted.items():
        if ours in columns:
            continue
        found = next((c for word in others for c in columns if c.lower().replace(" ", "_") == word), None)
        if found is None:
            continue
        names[found] = ours
    header = [names[column] for column in columns]
    if header == columns and not (table == "fleet" and _mentions_classes(rest)):
        return text
    if table != "fleet" or "device_class" not in header:
        return _line(header) + rest
    at = header.index("device_class")
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    before = 0
    reader = csv.reader(io.StringIO(rest, newline=""))
    for row in reader:
        # A blank or broken-up line stays in its place, so that line numbers in error messages are those of the file.
        out.write("\n" * (reader.line_num - before - 1))
        before = reader.line_num
        if not row:
            out.write("\n")
            continue
        if at < len(row):
            row[at] = _CLASS_OF.get(row[at].strip().lower(), row[at])
        writer.writerow(row)
    return out.getvalue()


def _mentions_classes(rest: str) -> bool:
    sample = rest[:20_000].lower()
    return "cmdb_ci_" in sample or any(word in sample for word in _CLASS_OF if " " in word)


def _line(cells: list[str]) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()


def as_csv(path: Path, table: str) -> str:
    """A Parquet table as CSV text with our column names; its first row is line 2, as in a CSV file.

    Raises InvalidInput where the file cannot be read.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except Exception as error:
        raise InvalidInput(f"{table}: {path.name} cannot be read as Parquet: {error}") from error
    for name in frame.columns:
        if isinstance(frame[name].dtype, pd.DatetimeTZDtype) or frame[name].dtype.kind == "M":
            days = frame[name].dropna()
            whole = bool((days == days.dt.normalize()).all()) and name not in ("opened", "restored")
            frame[name] = (
                frame[name].dt.strftime("%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S%z").where(frame[name].notna(), "")
            )
    return renamed(frame.to_csv(index=False), table)
