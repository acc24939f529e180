"""A quote as a PDF, in English and Chinese, from its stored result alone."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from core.errors import InvalidInput
from itops.pricing import Waterfall

LANGUAGES = ("en", "zh")
#: A reader's own Song face: no font file is shipped. Readers bring one, poppler with the package poppler-data.
_CJK = "STSong-Light"

_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("Quote for IT-operations insurance", "信息技术运营保险报价单"),
    "quote_no": ("Quote", "报价编号"),
    "insured": ("Insured", "被保险人"),
    "period": ("Policy period (last day not included)", "保险期间（不含末日）"),
    "window": ("Exposure window (last day not included)", "风险暴露期间（不含末日）"),
    "as_of": ("Data as of", "数据截止日"),
    "valid": ("Valid for", "有效期"),
    "valid_days": ("30 days from the data date", "自数据截止日起30天"),
    "decision": ("Decision", "核保结论"),
    "decision.quote": ("can be bound", "可承保"),
    "decision.refer": ("referred: see the rules that fired", "需转核保：见触发的规则"),
    "decision.decline": ("declined as asked: see the counter-offer", "按现条件拒保：见反要约"),
    "score": ("Risk score and tier", "风险评分与等级"),
    "tier.standard": ("standard", "标准"),
    "tier.load": ("load", "加费"),
    "tier.decline": ("decline", "拒保"),
    "premium": ("Premium asked", "报价保费"),
    "payable": ("Payable with levies", "含税费应付"),
    "range": ("What is not known moves the technical premium between (5-95 %)", "未知因素下技术保费的范围（5%–95%）"),
    "prior_share": ("Expected loss that rests on published figures and judgement", "依赖公开数据与判断的份额"),
    "waterfall": ("From expected loss to premium", "从预期损失到保费"),
    "amount": ("amount", "金额"),
    "step.expected_loss": ("expected loss", "预期损失"),
    "step.experience": ("own claims experience", "自身赔付经验"),
    "step.loss_adjustment": ("loss adjustment", "理赔费用"),
    "step.service_cost": ("services", "服务成本"),
    "step.risk_load": ("risk load (cost of capital)", "风险附加（资本成本）"),
    "step.acquisition": ("acquisition", "获取费用"),
    "step.administration": ("administration", "管理费用"),
    "step.profit": ("profit", "利润"),
    "step.technical_premium": ("technical premium", "技术保费"),
    "step.market": ("market factor", "市场系数"),
    "step.tier": ("load or discount of the tier", "等级加费或折扣"),
    "step.held_at_floor": ("held at the floor", "底线补足"),
    "step.premium": ("commercial premium", "商业保费"),
    "approved": ("below the floor, approved by", "低于底线，批准人"),
    "wang": ("risk load by Wang's transform, beside it", "王氏变换风险附加（对照）"),
    "covers": ("Covers", "险别"),
    "cover": ("cover", "险别"),
    "el": ("expected loss", "预期损失"),
    "part": ("part of premium", "保费份额"),
    "terms": ("terms of one event and of the year", "每次事故与年度条款"),
    "cover.business_interruption": ("business interruption", "营业中断"),
    "cover.physical_damage": ("physical damage", "物理损坏"),
    "cover.information_security": ("information security (prior only)", "信息安全（仅凭先验）"),
    "cover.system_availability": ("system availability", "系统可用性"),
    "cover.data_recovery": ("data recovery", "数据恢复"),
    "prior_only": (
        "Information security is priced from published figures alone: device telemetry does not change this premium.",
        "信息安全险仅凭公开数据定价：设备遥测不影响该部分保费。",
    ),
    "services": ("Services that may be bought", "可选服务"),
    "service.insurance": ("service under an SLA with compensation", "带补偿的服务"),
    "service.health_care": ("preventive health care", "预防性体检服务"),
    "service.managed": ("managed operation", "托管运维"),
    "bought": ("in this quote", "已包含"),
    "options": ("Options", "方案比较"),
    "option": ("option", "方案"),
    "option.as_asked": ("as asked", "按询价"),
    "option.waiting_period_x2": ("waiting period doubled", "等待期加倍"),
    "option.deductible_x2": ("deductible doubled", "免赔额加倍"),
    "q99": ("worst year in 100", "百年一遇年损失"),
    "rules": ("Rules that fired, or whose fact is not known", "触发的规则，或事实未知的规则"),
    "state.fired": ("fired", "触发"),
    "state.unknown": ("not known", "未知"),
    "seen": ("seen", "实际"),
    "threshold": ("threshold", "阈值"),
    "none": ("none", "无"),
    "counter": ("Counter-offer", "反要约"),
    "to_standard": ("Together these conditions bring the risk to standard.", "以下条件合计可使风险达到标准等级。"),
    "not_reachable": ("No conditions known here bring the risk to standard.", "现有条件无法使风险达到标准等级。"),
    "score_after": ("score", "评分"),
    "orders": ("Work orders from alarms", "告警工单"),
    "orders_effect": ("Premium once the work is done", "完成工单后的保费"),
    "hazard": ("hazard before / after", "故障率倍数 前/后"),
    "action.replace": ("replace", "更换"),
    "action.inspect": ("inspect", "检查"),
    "action.firmware": ("update firmware", "升级固件"),
    "comparison": ("Beside a maintenance contract", "与维保合同比较"),
    "denominator": ("contract price (denominator)", "合同价（分母）"),
    "saving": ("saving", "节省"),
    "assumptions": ("What it stands on", "依据与假设"),
    "assumptions_help": (
        "judgement: no data behind it; source: published; declared: by the insured; default; limit: left out.",
        "judgement：判断，无数据支持；source：公开来源；declared：投保人申报；default：默认值；limit：未纳入。",
    ),
    "notes": ("Notes", "说明"),
    "versions": ("Versions and inputs", "版本与输入"),
    "verify": ("Computed again to the cent by: tocsin quote rerun", "可用此命令逐分重算：tocsin quote rerun"),
    "page": ("page", "页"),
    "indication": ("Indication only: declined as asked, not an offer", "仅供参考：按现条件拒保，不构成要约"),
    "build_up": ("How the expected loss came about", "预期损失的来源"),
    "build.base": ("published rates, no relativities", "公开基准率"),
    "build.relativities": ("age, redundancy, monitoring", "使用年限、冗余与监测"),
    "build.fit_of_rates": ("fitted failure rates (other record)", "拟合故障率（其他记录）"),
    "build.fit_of_repair_times": ("fitted repair times (other record)", "拟合修复时间（其他记录）"),
    "build.own_record": ("own record", "自身记录"),
    "build.dependence": ("shocks that hit many at once", "同时影响多台设备的冲击"),
    "build.information_security": ("information security (prior only)", "信息安全（仅凭先验）"),
    "build.terms_of_the_year": ("terms of the year", "年度条款"),
    "fits": ("Fits of other records", "所用的其他记录拟合"),
    "fit.fleet": ("failure rates", "故障率"),
    "fit.repair": ("repair times", "修复时间"),
    "fit.class": ("device class", "设备类别"),
    "fit.version": ("version, as of, SHA-256", "版本、截止日、SHA-256"),
    "fit.share": ("credibility", "可信度"),
    "validation": ("Checks of the year's law: moments on the grid beside exact ones", "年度分布校验：网格矩与精确矩"),
    "check.holds": ("agrees", "一致"),
    "check.off": ("IS OFF", "偏离"),
    "check.error": ("relative error", "相对误差"),
}  # fmt: skip


class UnknownLanguage(InvalidInput):
    """A quote is printed in English or Chinese."""


def words(language: str) -> dict[str, str]:
    """The texts of a language. Raises UnknownLanguage."""
    if language not in LANGUAGES:
        raise UnknownLanguage(f"language: {language!r} is not one of {', '.join(LANGUAGES)}")
    at = LANGUAGES.index(language)
    return {key: texts[at] for key, texts in _TEXTS.items()}


def render(result: Mapping[str, Any], language: str, *, quote_id: str = "") -> bytes:
    """The PDF of a quote's stored result. The same result gives the same bytes. Raises UnknownLanguage."""
    from reportlab.lib import colors
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.lib.units import mm
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

    t = words(language)
    pdfmetrics.registerFont(UnicodeCIDFont(_CJK))
    # One face for both languages' tables keeps names in the other script readable; Latin text alone has Helvetica.
    face = _CJK if language == "zh" or not _latin(result) else "Helvetica"
    bold = face if face == _CJK else "Helvetica-Bold"
    wrap = "CJK" if face == _CJK else None
    ink, muted, line = colors.HexColor("#1B1F24"), colors.HexColor("#57606A"), colors.HexColor("#C9CED6")
    body = ParagraphStyle("b", fontName=face, fontSize=8.5, leading=12, textColor=ink, wordWrap=wrap)
    small = ParagraphStyle("s", parent=body, fontSize=7.2, leading=9.6, textColor=muted)
    head = ParagraphStyle("h", parent=body, fontName=bold, fontSize=11, leading=15, spaceBefore=9, spaceAfter=3)
    title = ParagraphStyle("t", parent=head, fontSize=16, leading=21, spaceBefore=0)
    right = ParagraphStyle("r", parent=body, alignment=2)
    currency = str(result["currency"])

    def p(text: Any, style: Any = body) -> Any:
        return Paragraph(_escaped(str(text)), style)

    def money(value: float | None) -> str:
        return "–" if value is None else f"{value:,.2f}"

    def table(rows: Sequence[Sequence[Any]], widths: Sequence[float], *, header: bool = True, numeric: int = 0) -> Any:
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
    flow.append(table(facts, (70, 104), header=False))

    if result["decision"] == "decline":
        fired = [rule[language] for rule in result["rules"] if rule["state"] == "fired" and rule["action"] == "decline"]
        flow += [Spacer(1, 4), p("; ".join([t["indication"], *fired]), head)]
    if "fits" in result:
        flow.append(p(t["build_up"], head))
        rows = [[t["build_up"], f"{t['amount']} ({currency})"]]
        rows += [[t[f"build.{item['step']}"], money(item["amount"])] for item in result["build_up"]]
        flow.append(table(rows, (120, 54), numeric=1))
    if result.get("fits"):
        rows = [[t["fits"], t["fit.class"], t["fit.version"], t["fit.share"]]]
        rows += [
            [t[f"fit.{item['kind']}"], item["device_class"],
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
    rows = [[t["waterfall"], f"{t['amount']} ({currency})"], *[[name, money(value)] for name, value, _ in steps]]
    rows.append([t["wang"], money(result["risk_load"]["wang"])])
    if c["approved_by"]:
        rows.append([f"{t['approved']} {c['approved_by']}", money(c["floor"])])
    flow.append(table(rows, (120, 54), numeric=1))

    flow.append(p(t["covers"], head))
    terms = {item["cover"]: item for item in result["options"][0]["terms"]}
    rows = [[t["cover"], t["terms"], t["el"], t["part"]]]
    for cover in result["covers"]:
        own = {k: v for k, v in terms[cover["cover"]].items() if k != "cover"}
        rows.append(
            [t[f"cover.{cover['cover']}"], p(_told(own), small), money(cover["expected_loss"]), money(cover["premium"])]
        )
    flow.append(table(rows, (34, 84, 28, 28), numeric=2))
    if any(cover["prior_only"] for cover in result["covers"]):
        flow.append(p(t["prior_only"], body))

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
        [t.get(f"option.{o['name']}", o["name"]), p("; ".join(o["changed"]), small), money(o["expected_loss"]),
         money(o["quantile_99"]), money(o["commercial_premium"])]
        for o in result["options"]
    ]  # fmt: skip
    flow.append(table(rows, (32, 58, 28, 28, 28), numeric=3))

    flow.append(p(t["rules"], head))
    told = [rule for rule in result["rules"] if rule["state"] != "passed"]
    if told:
        rows = [[t["rules"], "", t["seen"], t["threshold"]]]
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
        rows = [[t["counter"], t["score_after"], t["step.premium"]]]
        rows += [[s[language], f"{s['score']:g}", money(s["premium"])] for s in offer["steps"]]
        flow += [
            p(t["counter"], head),
            table(rows, (120, 22, 32), numeric=2),
            p(t["to_standard"] if offer["reachable"] else t["not_reachable"], small),
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
            flow.append(p(comparison["why_not"], small))

    flow += [p(t["assumptions"], head), p(t["assumptions_help"], small)]
    rows = [
        [p(a["kind"], small), p(a["name"], small), p(a["value"], small), p(a["basis"], small)]
        for a in result["assumptions"]
    ]
    flow.append(table(rows, (16, 36, 46, 76), header=False))
    if result["notes"]:
        flow.append(p(t["notes"], head))
        flow += [p(note, small) for note in result["notes"]]
    if "fits" in result and result["validation"]:
        rows = [[t["validation"], "", t["check.error"]]]
        rows += [
            [f"{item['moment']}: {item['covers'].replace('_', ' ').replace('+', ', ')}",
             t["check.holds"] if item["holds"] else t["check.off"], f"{item['relative_error']:.1e}"]
            for item in result["validation"]
        ]  # fmt: skip
        flow += [Spacer(1, 4), table([[p(cell, small) for cell in row] for row in rows], (124, 24, 26))]
    versions = "; ".join(f"{name} {value}" for name, value in result["versions"].items())
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


def _latin(result: Mapping[str, Any]) -> bool:
    names = [str(result["insured"]), *(option["name"] for option in result["options"])]
    return all(ord(letter) < 0x2E80 for name in names for letter in name)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _told(terms: Mapping[str, Any]) -> str:
    shown = []
    for name, value in terms.items():
        if value in ("0", [], {}, None) or name == "order":
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, list):
            value = ", ".join("/".join(str(x) for x in one.values()) for one in value)
        shown.append(f"{name.replace('_', ' ')} {value}")
    return "; ".join([*shown, str(terms["order"]).replace("_", " → ")])


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
            String(left + (end - low) * scale + 3, y + 2, f"{value:,.0f}", fontName="Helvetica", fontSize=7,
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
