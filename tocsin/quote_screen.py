"""Quotes and their stress for people at a terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(result: dict[str, Any]) -> None:
    """Prints a quote."""
    console = Console()
    currency = result["currency"]

    def amount(value: float) -> str:
        return f"{value:,.2f}"

    def money(value: float) -> str:
        return f"{amount(value)} {currency}"

    def span(name: str) -> str:
        return f"{result[name]['from']} until {result[name]['to']} (that day not included)"

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for index, column in enumerate(columns):
            made.add_column(column, justify="left" if index == 0 else "right")
        return made

    console.print(Text(f"Quote for {result['insured']}", style="bold"))
    if "quote_id" in result:
        name = "stored as" if "issued_at" in result else "quote"
        issued = f", issued {result['issued_at']}" if "issued_at" in result else ""
        console.print(Text(f"{name:<27}{result['quote_id']}{issued}"), soft_wrap=True)
    declined = result["decision"] == "decline"
    if declined:
        for rule in result["rules"]:
            if rule["state"] == "fired" and rule["action"] == "decline":
                console.print(Text(f"declined: {rule['en']}", style="bold"), soft_wrap=True)
    for name, value in (
        ("indication, not an offer" if declined else "commercial premium", money(result["commercial_premium"])),
        ("technical premium", money(result["premium"])),
        ("range of it (5-95 %)", " to ".join(money(x) for x in result["parameter_range"]["premium"].values())),
        ("decision", f"{result['decision']}; score {result['score']['value']:g}, tier {result['score']['tier']}"),
        ("expected loss", money(result["expected_loss"])),
        ("99 % quantile of the year", money(result["quantile_99"])),
        (f"mean of the worst {1 - result['tail_mean']['level']:.4g}", money(result["tail_mean"]["amount"])),
        ("share resting on priors", f"{result['prior_share']:.1%}"),
        ("policy period", span("policy_period")),
        ("exposure window", span("exposure_window")),
        ("as of", result["as_of"]),
        ("model", f"{result['model_version']}, priors {result['priors_version']}"),
        ("inputs SHA-256", result["inputs_sha256"]),
    ):
        console.print(Text(f"{name:<27}{value}"), soft_wrap=True)

    console.print()
    built = table("How the expected loss came about", "step", currency)
    for item in result["build_up"]:
        built.add_row(item["step"].replace("_", " "), amount(item["amount"]))
    console.print(built)
    for item in result.get("fits", []):
        console.print(
            Text(
                f"[fit] {item['kind']} for {item['device_class']}: {item['version']} as of "
                f"{item['as_of'] or 'not dated'}, from the {item['source']}, SHA-256 {item['sha256'][:16]}, "
                f"credibility {item['share']:.1%}, {item['n_unknown']} of {item['n_devices']} devices not in it"
            ),
            soft_wrap=True,
        )

    console.print()
    steps = table("From expected loss to premium", "step", currency)
    for name, value in result["waterfall"].items():
        steps.add_row(name.replace("_", " "), amount(value))
    console.print(steps)
    console.print(Text(f"risk load by Wang's transform, for comparison: {money(result['wang_risk_load'])}"))

    console.print()
    covers = table(
        f"Covers, each on its own ({currency})", "cover", "expected loss", "before its terms", "99 % quantile"
    )
    for item in result["covers"]:
        figures = (item["expected_loss"], item["expected_ground_up"], item["quantile_99"])
        name = item["cover"].replace("_", " ") + (" (prior only)" if item["prior_only"] else "")
        covers.add_row(name, *("-" if value is None else amount(value) for value in figures))
    console.print(covers)

    console.print()
    options = table(f"Options ({currency})", "option", "commercial premium", "expected loss", "99 % quantile")
    for item in result["options"]:
        figures = (item["commercial_premium"], item["expected_loss"], item["quantile_99"])
        options.add_row(item["name"].replace("_", " "), *(amount(value) for value in figures))
    console.print(options)

    told = [rule for rule in result["rules"] if rule["state"] != "passed"]
    if told:
        console.print()
        console.print(Text("Rules that fired, or whose fact is not known", style="bold"))
        for rule in told:
            value = "not known" if rule["value"] is None else f"{rule['value']:.3g}"
            seen = f"{rule['fact']} {value}, threshold {rule['op']} {rule['threshold']:g}"
            console.print(Text(f"[{rule['state']}] {rule['rule']}: {rule['en']} ({seen})"), soft_wrap=True)
    for step in (result["counter_offer"] or {"steps": []})["steps"]:
        price = "" if step["premium"] is None else f", premium {money(step['premium'])}"
        console.print(Text(f"[counter-offer] {step['en']} (score {step['score']:g}{price})"), soft_wrap=True)
    for order in result["work_orders"]:
        effect = f"hazard x {order['hazard_before']:.2f} -> {order['hazard_after']:.2f}"
        reason = f"{order['signal']} {order['value']:g}"
        console.print(Text(f"[work order] {order['action']} {order['asset_id']}: {reason}, {effect}"), soft_wrap=True)

    console.print()
    classes = table(
        f"Device classes ({currency})", "class", "years", "incidents", "open", "rate", "on prior", "repair on prior",
        "expected loss",
    )  # fmt: skip
    for item in result["classes"]:
        classes.add_row(
            item["device_class"],
            f"{item['exposure_years']:,.1f}",
            str(item["n_incidents"]),
            str(item["n_open"]),
            "-" if item["rate_per_year"] is None else f"{item['rate_per_year']:.4f}",
            f"{item['frequency_prior_share']:.1%}",
            f"{item['layer_prior_share']:.1%}",
            amount(item["expected_loss"]),
        )
    console.print(classes)

    console.print()
    console.print(Text("What it stands on", style="bold"))
    for item in result["assumptions"]:
        console.print(Text(f"[{item['kind']}] {item['name']}: {item['value']} ({item['basis']})"), soft_wrap=True)
    off = [check for check in result["validation"] if not check["holds"]]
    told_checks = "; ".join(f"{c['moment']} of {c['covers']} is off by {c['relative_error']:.1e}" for c in off)
    console.print(
        Text(f"[validation] {len(result['validation'])} moments against exact ones: {told_checks or 'all agree'}"),
        soft_wrap=True,
    )
    for note in result["notes"]:
        console.print(Text(f"[note] {note}"), soft_wrap=True)


def show_stress(told: dict[str, Any]) -> None:
    """Prints what a quote does under the stress scenarios."""
    console = Console()
    table = Table(
        title=f"{told['insured']}: premium {told['premium']:,.2f} {told['currency']}", box=None, pad_edge=False
    )
    for index, column in enumerate(("scenario", "event", "expected loss", "tail mean", "loss ratio", "solvency")):
        table.add_column(column, justify="left" if index == 0 else "right")
    for item in told["scenarios"]:
        figures = (f"{item[name]:,.0f}" for name in ("event_loss", "expected_loss", "tail_mean"))
        table.add_row(item["en"], *figures, f"{item['loss_ratio']:.1%}", f"{item['solvency_ratio']:.2f}")
    console.print(table)
    factor = told["reverse_stress"]["frequency_multiplier"]
    console.print(Text(f"reverse stress: {'not reached' if factor is None else f'x {factor:g}'}; "
                       f"{told['reverse_stress']['meaning']}"), soft_wrap=True)  # fmt: skip
