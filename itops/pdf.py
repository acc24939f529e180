"""A quote as a PDF, in English and Chinese, from its stored result alone."""

import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from itops import face as typeface
from itops.paper_basis import on_paper
from itops.paper_words import LANGUAGES, UnknownLanguage, words
from itops.pricing import Waterfall

__all__ = ["LANGUAGES", "UnknownLanguage", "render", "words"]

#: Approvals that each decision needs, as on the desk (itops/bind.py).
_APPROVALS = {"quote": 0, "refer": 1, "decline": 2}


def render(result: Mapping[str, Any], language: str, *, quote_id: str = "") -> bytes:
    """The PDF of a quote's stored result. The same result gives the same bytes. Raises UnknownLanguage."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    t = words(language)
    letters = _letters(result, t, quote_id, language)
    # Every reader has Helvetica, with Western European letters; anything else is printed in an embedded face.
    face, bold = ("Helvetica", "Helvetica-Bold") if language == "en" and _western(letters) else _embedded(letters)
    wrap = "CJK" if language == "zh" else None
    ink, muted, line = colors.HexColor("#1B1F24"), colors.HexColor("#57606A"), colors.HexColor("#C9CED6")
    body = ParagraphStyle("b", fontName=face, fontSize=8.5, leading=12, textColor=ink, wordWrap=wrap)
    small = ParagraphStyle("s", parent=body, fontSize=7.2, leading=9.6, textColor=muted)
    head = ParagraphStyle(
        "h", parent=body, fontName=bold, fontSize=11, leading=15, spaceBefore=9, spaceAfter=3, keepWithNext=1
    )
    title = ParagraphStyle("t", parent=head, fontSize=16, leading=21, spaceBefore=0)
    right = ParagraphStyle("r", parent=body, alignment=2)
    currency = str(result["currency"])

    def p(text: Any, style: Any = body) -> Any:
        return Paragraph(_escaped(str(text)), style)

    def money(value: float | None) -> str:
        return "–" if value is None else f"{value:,.2f}"

    def table(
        rows: Sequence[Sequence[Any]],
        widths: Sequence[float],
        *,
        header: bool = True,
        numeric: int = 0,
        tall: bool = False,
    ) -> Any:
        made = [
            [
                cell if hasattr(cell, "wrap") else p(cell, right if numeric and j >= len(row) - numeric else body)
                for j, cell in enumerate(row)
            ]
            for row in rows
        ]
        out = Table(made, colWidths=[w * mm for w in widths], repeatRows=1 if header else 0)
        style = [
            ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.3, line),
            ("LEFTPADDING", (0, 0), (-1, -1), 2), ("RIGHTPADDING", (0, 0), (-1, -1), 4),
            ("TOPPADDING", (0, 0), (-1, -1), 1.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 1), (-1, -1), 20 if tall else 2),
        ]  # fmt: skip
        if header:
            style.append(("BACKGROUND", (0, 0), (-1, 0), colors.HexColor("#EEF1F5")))
        out.setStyle(TableStyle(style))
        return out

    flow: list[Any] = [p(t["title"], title)]
    score = result["score"]
    facts = [
        (t["quote_no"], quote_id or result["inputs_sha256"][:16]),
        (t["insured"], result["insured"]),
        (t["period"], f"{result['policy_period']['from']} – {result['policy_period']['to']}"),
        (t["window"], f"{result['exposure_window']['from']} – {result['exposure_window']['to']}"),
        (t["as_of"], result["as_of"]),
        (t["valid"], t["valid_days"]),
        (t["decision"], t[f"decision.{result['decision']}"]),
        (t["score"], f"{score['value']:g} / {t['tier.' + score['tier']]}"),
        (
            t["indication"] if result["decision"] == "decline" else t["premium"],
            f"{money(result['commercial_premium'])} {currency}",
        ),
        (t["payable"], f"{money(result['payable'])} {currency}"),
        (
            t["range"],
            " – ".join(money(result["parameter_range"]["premium"][k]) for k in ("p05", "p95")) + f" {currency}",
        ),
        (t["prior_share"], f"{result['prior_share']:.1%}"),
    ]
    tail = result["tail_mean"]
    flow += [table(facts, (70, 104), header=False), p(t["all_amounts"].format(currency=currency), small)]

    if result["decision"] == "decline":
        fired = [rule[language] for rule in result["rules"] if rule["state"] == "fired" and rule["action"] == "decline"]
        flow += [Spacer(1, 4), p("; ".join([t["indication"], *fired]), head)]
    if "fits" in result:
        flow.append(p(t["build_up"], head))
        rows = [[t["step"], f"{t['amount']} ({currency})"]]
        rows += [[t[f"build.{item['step']}"], money(item["amount"])] for item in result["build_up"]]
        flow.append(table(rows, (120, 54), numeric=1))
    if result.get("fits"):
        rows = [[t["fits"], t["fit.class"], t["fit.version"], t["fit.share"]]]
        rows += [
            [t[f"fit.{item['kind']}"], t.get(f"class.{item['device_class']}", item["device_class"]),
             p(f"{item['version']}, {item['as_of'] or '–'}, {item['sha256'][:16]}", small), f"{item['share']:.1%}"]
            for item in result["fits"]
        ]  # fmt: skip
        flow += [Spacer(1, 4), table(rows, (40, 30, 76, 28), numeric=1)]

    flow.append(p(t["waterfall"], head))
    steps = [(t[f"step.{name}"], value, name == "technical_premium") for name, value in in_order(result["waterfall"])]
    c = result["commercial"]
    steps += [
        (t[f"step.{name}"], c[name], name == "premium")
        for name in ("market", "tier", "held_at_floor", "premium")
        if name == "premium" or c[name]
    ]
    flow.append(_waterfall(steps, face))
    whole = result["waterfall"]["technical_premium"]
    rows = [[t["step"], t["share_of"], f"{t['amount']} ({currency})"]]
    rows += [[name, f"{value / whole:.1%}" if whole else "–", money(value)] for name, value, _ in steps]
    rows.append(
        [t["wang"], f"{result['risk_load']['wang'] / whole:.1%}" if whole else "–", money(result["risk_load"]["wang"])]
    )
    if c["approved_by"]:
        rows.append([f"{t['approved']} {c['approved_by']}", "", money(c["floor"])])
    flow.append(table(rows, (100, 34, 40), numeric=2))

    flow.append(p(t["law"], head))
    rows = [
        [t["law.mean"], money(result["expected_loss"])], [t["law.sd"], money(result["standard_deviation"])],
        [t["q99"], money(result["quantile_99"])],
        [t["law.tail"].format(share=round(100 * (1 - tail["level"]), 4)), money(tail["amount"])],
        [t["law.ratio"], f"{result['loss_ratio']:.1%}"],
    ]  # fmt: skip
    flow.append(table(rows, (120, 54), header=False, numeric=1))
    rows = [[t["causes"], f"{t['amount']} ({currency})"]]
    rows += [[t[f"cause.{name}"], money(value)] for name, value in result["causes"].items()]
    flow += [Spacer(1, 4), table(rows, (120, 54), numeric=1)]

    flow.append(p(t["classes"], head))
    rows = [["", t["class.years"], t["class.incidents"], t["class.rate"], t["class.z"], t["class.force"], t["el"]]]
    rows += [
        [t.get(f"class.{item['device_class']}", item["device_class"]),
         f"{item['exposure_years']:,.1f}", f"{item['n_incidents']} ({item['n_open']})",
         "–" if item["rate_per_year"] is None else f"{item['rate_per_year']:.4f}",
         f"{1 - item['frequency_prior_share']:.1%}", f"{item['years_in_force']:,.1f}", money(item["expected_loss"])]
        for item in result["classes"]
    ]  # fmt: skip
    flow.append(table(rows, (24, 26, 24, 22, 24, 24, 30), numeric=6))

    flow.append(p(t["covers"], head))
    terms = {item["cover"]: item for item in result["options"][0]["terms"]}
    rows = [[t["cover"], t["terms"], t["el"], t["part"]]]
    for cover in result["covers"]:
        own = {k: v for k, v in terms[cover["cover"]].items() if k != "cover"}
        rows.append(
            [
                t[f"cover.{cover['cover']}"],
                p(_told(own, t, currency), small),
                money(cover["expected_loss"]),
                money(cover["premium"]),
            ]
        )
    flow.append(table(rows, (34, 84, 28, 28), numeric=2))
    if result.get("service_hours"):
        flow.append(p(f"{t['service_hours']}: {result['service_hours'][language]}", body))
    if any(cover["prior_only"] for cover in result["covers"]):
        flow.append(p(t["prior_only"], body))
        editions = result["parameter_range"]["security_editions"]
        told_editions = "; ".join(f"{one['edition']} {money(one['expected_loss'])} {currency}" for one in editions)
        flow.append(p(f"{t['editions']}: {told_editions}", small))
    if result["related_covers"]:
        flow.append(p(f"{t['related']}: " + "; ".join(t[f"cover.{name}"] for name in result["related_covers"]), body))

    if result["services"]:
        rows = [[t["services"], "", f"{t['amount']} ({currency})"]]
        rows += [
            [t[f"service.{s['service']}"], t["bought"] if s["bought"] else "", money(s["cost"])]
            for s in result["services"]
        ]
        flow += [Spacer(1, 4), table(rows, (90, 40, 44), numeric=1)]

    flow.append(p(t["options"], head))
    rows = [[t["option"], "", t["el"], t["q99"], t["step.premium"]]]
    rows += [
        [t.get(f"option.{o['name']}", o["name"]), p("; ".join(_changed(one, t) for one in o["changed"]), small),
         money(o["expected_loss"]), money(o["quantile_99"]), money(o["commercial_premium"])]
        for o in result["options"]
    ]  # fmt: skip
    flow.append(table(rows, (32, 58, 28, 28, 28), numeric=3))

    flow.append(p(t["rules"], head))
    told = [rule for rule in result["rules"] if rule["state"] != "passed"]
    if told:
        rows = [["", "", t["seen"], t["threshold"]]]
        rows += [
            [rule[language], t[f"state.{rule['state']}"], "–" if rule["value"] is None else f"{rule['value']:.3g}",
             f"{rule['op']} {rule['threshold']:g}"]
            for rule in told
        ]  # fmt: skip
        flow.append(table(rows, (104, 24, 22, 24), numeric=2))
    else:
        flow.append(p(t["none"]))

    offer = result["counter_offer"]
    if offer:
        rows = [["", t["score_after"], f"{t['step.premium']} ({currency})"]]
        rows += [[_changed(s[language], t), f"{s['score']:g}", money(s["premium"])] for s in offer["steps"]]
        standard = t["already"] if score["tier"] == "standard" else t["to_standard"]
        flow += [
            p(t["counter"], head),
            table(rows, (120, 22, 32), numeric=2),
            p(standard if offer["reachable"] else t["not_reachable"], small),
        ]
    if result["work_orders"]:
        rows = [[t["orders"], "", "", t["hazard"]]]
        rows += [
            [o["asset_id"], t[f"action.{o['action']}"], f"{o['signal']} = {o['value']:g}",
             f"{o['hazard_before']:.2f} / {o['hazard_after']:.2f}"]
            for o in result["work_orders"][:40]
        ]  # fmt: skip
        flow += [p(t["orders"], head), table(rows, (54, 36, 44, 40), numeric=1)]
        flow.append(p(f"{t['orders_effect']}: {money(result['after_work_orders']['premium'])} {currency}"))
    comparison = result["maintenance_comparison"]
    if comparison:
        saving = "–" if comparison["saving"] is None else f"{comparison['saving']:.1%}"
        rows = [[t["denominator"], money(comparison["denominator"])], [t["saving"], saving]]
        flow += [p(t["comparison"], head), table(rows, (120, 54), header=False, numeric=1)]
        if comparison["why_not"]:
            flow.append(p(on_paper(comparison["why_not"], language), small))

    flow += [p(t["assumptions"], head), p(t["assumptions_help"], small)]
    rows = [
        [
            p(t.get(f"kind.{a['kind']}", a["kind"]), small),
            *(p(on_paper(a[part], language), small) for part in ("name", "value", "basis")),
        ]
        for a in result["assumptions"]
        if a["kind"] != "default"
    ]
    given = [_default(a["name"], a["value"], t) for a in result["assumptions"] if a["kind"] == "default"]
    flow.append(table(rows, (18, 36, 46, 74), header=False))
    if given:
        flow.append(p(f"{t['kind.default']} ({t['given.default']}): {'; '.join(given)}", small))
    if result["notes"]:
        flow.append(p(t["notes"], head))
        flow += [p(on_paper(note, language), small) for note in result["notes"]]
    if "fits" in result and result["validation"]:
        rows = [[t["validation"], "", t["check.error"]]]
        rows += [
            [f"{t['moment.' + item['moment']]}: {', '.join(t['cover.' + one] for one in item['covers'].split('+'))}",
             t["check.holds"] if item["holds"] else t["check.off"],
             t["none_left"] if abs(item["relative_error"]) < 1e-9 else f"{item['relative_error']:.1e}"]
            for item in result["validation"]
        ]  # fmt: skip
        flow += [Spacer(1, 4), table([[p(cell, small) for cell in row] for row in rows], (124, 24, 26))]
    versions = "; ".join(f"{name} {value}" for name, value in result["versions"].items())
    flow.append(KeepTogether(_signatures(result["decision"], t, p, table, head, small)))
    flow.append(
        KeepTogether(
            [
                p(t["versions"], head),
                p(versions, small),
                p(f"SHA-256 {result['inputs_sha256']}", small),
                p(f"{t['verify']} {quote_id}", small),
                _code(f"tocsin:quote:{quote_id}:{result['inputs_sha256']}"),
            ]
        )
    )

    def foot(canvas: Any, document: Any) -> None:
        canvas.setFont(face, 7)
        canvas.setFillColor(muted)
        canvas.drawString(18 * mm, 10 * mm, f"Tocsin · {quote_id or result['inputs_sha256'][:16]}")
        canvas.drawRightString(192 * mm, 10 * mm, f"{t['page']} {document.page}")

    out = io.BytesIO()
    SimpleDocTemplate(
        out, pagesize=A4, leftMargin=18 * mm, rightMargin=18 * mm, topMargin=16 * mm, bottomMargin=18 * mm,
        title=t["title"], author="Tocsin", subject=str(result["insured"]), invariant=1,
    ).build(flow, onFirstPage=foot, onLaterPages=foot)  # fmt: skip
    return out.getvalue()


def _letters(result: Mapping[str, Any], t: Mapping[str, str], quote_id: str, language: str) -> frozenset[str]:
    """Every letter that may be printed; texts of the other language are not."""

    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, Mapping):
            for name, one in value.items():
                if name == language or name not in LANGUAGES:
                    yield name
                    yield from texts(one)
        elif isinstance(value, list | tuple):
            for one in value:
                yield from texts(one)
        elif isinstance(value, str):
            yield value
            yield on_paper(value, language)

    ours = "".join(map(chr, range(32, 127))) + "–·"
    return frozenset(ours + quote_id + "".join(t.values()) + "".join(texts(result)))


def _western(letters: frozenset[str]) -> bool:
    """Whether the faces that every PDF reader has can print all letters of an English quote."""
    try:
        "".join(letters).encode("cp1252")
    except UnicodeEncodeError:
        return False
    return True


def _embedded(letters: frozenset[str]) -> tuple[str, str]:
    """Names of a text and a heading face that hold these letters and are written into the document.

    ReportLab knows faces by name in the whole process, so that the name tells the letters: two quotes that are printed
    at once in two threads must not take each other's.
    """
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    tag = hashlib.sha256("".join(sorted(letters)).encode()).hexdigest()[:16]
    names = (f"TocsinText{tag}", f"TocsinHead{tag}")
    for name, weight in zip(names, (400, 700), strict=True):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, io.BytesIO(typeface.truetype(letters, weight=weight))))
    return names


def _signatures(decision: str, t: Mapping[str, str], p: Any, table: Any, head: Any, small: Any) -> list[Any]:
    """Where people sign, or why nobody does."""
    if decision == "decline":
        return [p(t["sign"], head), p(t["sign.none"])]
    rows = [[t["sign.role"], t["sign.name"], t["sign.sign"], t["sign.date"]]]
    roles = ["underwriter", *["approver"] * _APPROVALS[decision], "actuary", "insured"]
    rows += [[t[f"sign.{role}"] + "\u00a0", "", "", ""] for role in roles]
    return [
        p(t["sign"], head),
        p(f"{t['sign.need']}: {_APPROVALS[decision]}", small),
        table(rows, (40, 50, 54, 30), tall=True),
    ]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


#: Fields of a cover that are money, and such that are shares.
_MONEY = frozenset({"deductible", "limit", "aggregate_deductible", "aggregate_limit", "revenue_per_hour",
                    "annual_revenue", "compensation_per_breach", "compensation_per_hour", "monthly_fee", "cost_median",
                    "recreation_cost_per_hour", "limit_per_tb"})  # fmt: skip
_SHARES = frozenset({"coinsurance", "deductible_share", "backup_restorable"})


def _told(terms: Mapping[str, Any], t: Mapping[str, str], currency: str) -> str:
    """A cover's terms in words, amounts with their currency and hours with their unit."""
    shown = []
    for name, value in terms.items():
        if value in ("0", [], {}, None) or name == "order":
            continue
        label = t.get(f"term.{name}", name.replace("_", " "))
        if name == "sublimits":
            told = ", ".join(f"{t[f'cause.{cause}']} {_number(one)} {currency}" for cause, one in value.items())
        elif name == "affected_share":
            told = ", ".join(f"{t.get(f'class.{kind}', kind)} {float(one):.4g}" for kind, one in value.items())
        elif name == "posture":
            told = ", ".join(f"{t[f'posture.{key}']} {'+' if one else '–'}" for key, one in value.items())
        elif isinstance(value, list):
            told = ", ".join(" / ".join(f"{float(x):.4g}" for x in one.values()) for one in value)
        elif name in _MONEY:
            told = f"{_number(value)} {currency}"
        elif name in _SHARES:
            told = f"{100 * float(value):g} %"
        elif name.endswith("_h") or name == "recreation_hours":
            told = f"{float(value):g} h"
        else:
            told = t.get(f"word.{value}", str(value))
        shown.append(f"{label} {told}")
    order = [t[f"order.{one}"] for one in str(terms["order"]).split("_")]
    return "; ".join([*shown, f", {t['then']} ".join(order)])


def _default(name: str, value: str, t: Mapping[str, str]) -> str:
    """A field that was left out and what stands in its place: `system availability: order of terms = ...`."""
    cover, _, field = name.rpartition(".")
    label = t.get(f"field.{field}") or t.get(f"term.{field}", field.replace("_", " "))
    of = t.get(f"cover.{cover}")
    return f"{label if of is None else f'{of}: {label}'} = {t.get(f'word.{value}', value)}"


def _number(value: Any) -> str:
    return f"{float(value):,.2f}".removesuffix(".00")


def _changed(text: str, t: Mapping[str, str]) -> str:
    """`cover.field 1000 -> 2000` in words, wherever it stands in a sentence."""

    def worded(found: re.Match[str]) -> str:
        cover, field = t.get(f"cover.{found[1]}"), found[2].removesuffix(".site")
        return found[0] if cover is None else f"{cover}: {t.get(f'term.{field}', field.replace('_', ' '))}"

    text = text.replace(words("en")["also_nature"], t["also_nature"])
    text = re.sub(r"\b([a-z]+(?:_[a-z]+)+)\.([a-z_]+(?:\.site)?)", worded, text)
    return re.sub(r"\b\d{4,}(?:\.\d+)?\b", lambda found: _number(found[0]), text)


def in_order(waterfall: Mapping[str, float]) -> list[tuple[str, float]]:
    """Its steps as a premium is built: a stored result comes back with its keys in the database's own order."""
    order = {field.name: k for k, field in enumerate(fields(Waterfall))}
    return sorted(waterfall.items(), key=lambda step: order.get(step[0], len(order)))


def _waterfall(steps: Sequence[tuple[str, float, bool]], face: str) -> Any:
    """A bar for each step, standing on the sum of those before it; totals stand on the ground."""
    from reportlab.graphics.shapes import Drawing, Line, Rect, String
    from reportlab.lib import colors

    width, row, left, room = 493.0, 13.0, 150.0, 70.0
    drawing = Drawing(width, row * len(steps) + 8)
    bars, at = [], 0.0
    for name, value, total in steps:
        start = 0.0 if total else at
        at = value if total else at + value
        bars.append((name, value, min(start, at), max(start, at), total))
    low, high = min(0.0, *(b[2] for b in bars)), max(b[3] for b in bars)
    scale = (width - left - room) / max(high - low, 1e-9)
    for k, (name, value, start, end, total) in enumerate(bars):
        y = row * (len(steps) - 1 - k) + 4
        drawing.add(String(0, y + 2, name, fontName=face, fontSize=7.5, fillColor=colors.HexColor("#1B1F24")))
        fill = "#1D4ED8" if total else "#8FB4FF" if value >= 0 else "#FF9B5E"
        x = left + (start - low) * scale
        drawing.add(
            Rect(x, y, max((end - start) * scale, 0.6), row - 4, fillColor=colors.HexColor(fill), strokeColor=None)
        )
        drawing.add(
            String(left + (end - low) * scale + 3, y + 2, f"{value:,.0f}", fontName=face, fontSize=7,
                   fillColor=colors.HexColor("#57606A"))
        )  # fmt: skip
    x0 = left + (0.0 - low) * scale
    drawing.add(Line(x0, 2, x0, row * len(steps) + 4, strokeColor=colors.HexColor("#7A828C"), strokeWidth=0.5))
    return drawing


def _code(text: str) -> Any:
    from reportlab.graphics.barcode.qr import QrCodeWidget
    from reportlab.graphics.shapes import Drawing

    widget = QrCodeWidget(text)
    x0, y0, x1, y1 = widget.getBounds()
    drawing = Drawing(70, 70, transform=[70 / (x1 - x0), 0, 0, 70 / (y1 - y0), 0, 0])
    drawing.add(widget)
    return drawing
