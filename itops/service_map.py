"""The service map of a submission, laid on the fleet's devices."""

from decimal import Decimal

from itops.dependency import BadService, Service
from itops.fleet import Fleet
from itops.submission import BadSubmission, Submission


def services_on(submission: Submission, fleet: Fleet) -> tuple[Service, ...]:
    """The services of the submission on the fleet's devices. Raises BadSubmission naming service and field."""
    problems: list[tuple[str, str]] = []
    known = {asset.asset_id for asset in fleet.assets}
    out = []
    for index, item in enumerate(submission.service_wires):
        at = f"services.{index}"
        if "assets" in item:
            ids = tuple(sorted(set(item["assets"])))
            missing = [one for one in ids if one not in known]
            if missing:
                problems.append((f"{at}.assets", f"{missing[0]!r} is not in the fleet table"))
                continue
        else:
            where = item["where"]
            ids = tuple(
                asset.asset_id
                for asset in fleet.assets
                if all(getattr(asset, name) == value for name, value in where.items())
            )
            if not ids or not where:
                problems.append((f"{at}.where", "selects no device of the fleet table"))
                continue
        try:
            out.append(
                Service(
                    name=item["service"],
                    revenue_per_hour=Decimal(item["revenue_per_hour"]),
                    assets=ids,
                    needed=item.get("needed", len(ids)),
                )
            )
        except BadService as error:
            problems.append((f"{at}.needed", str(error)))
    for index, alarm in enumerate(submission.alarms):
        if alarm.asset_id not in known:
            problems.append((f"alarms.{index}.asset_id", f"{alarm.asset_id!r} is not in the fleet table"))
    if problems:
        raise BadSubmission(problems)
    return tuple(sorted(out, key=lambda service: service.name))
