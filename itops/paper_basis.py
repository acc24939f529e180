# ruff: noqa: E501
"""What a quote stands on, in Chinese: the texts of the book's entries, and the phrases around its figures.

A quote stores its assumptions and notes in English, whatever is printed. The texts are a bounded set: those of
`itops/data` (by their whole text) and those that `itops/quote.py` writes (by pattern). A text that is not here, as one of
a book that somebody changed, is printed as it stands.
"""

import re
from collections.abc import Callable
from typing import Final

_CLASSES: Final = {
    "server": "服务器", "storage": "存储", "disk": "硬盘", "switch": "交换机", "router": "路由器", "firewall": "防火墙",
    "ups": "不间断电源", "cooling": "制冷设备", "desktop": "台式机", "laptop": "笔记本电脑", "default": "默认",
}  # fmt: skip
_SCOPES: Final = {"site": "站点", "model": "型号", "region": "区域", "fleet": "全部设备", "manufacturer": "厂商"}
_SHOCKS: Final = {
    "site": "站点电力或制冷", "network": "站点网络", "firmware": "固件批次", "cloud region": "云区域",
    "human change": "人为变更", "flood": "洪水", "wind": "大风", "shaking": "地震",
}  # fmt: skip
_PLANS: Final = {"insurance": "带补偿的服务", "health care": "预防性体检服务", "managed": "托管运维"}
_FITS: Final = {"rates": "故障率", "repair times": "修复时间", "fleet": "故障率", "repair": "修复时间"}
_VALUATIONS: Final = {"replacement_new": "重置价值", "actual_cash_value": "实际现金价值"}
_MOMENTS: Final = {"mean": "均值", "variance": "方差", "probability": "概率", "wrapped variance": "回绕方差"}

_TEXTS: Final[dict[str, str]] = {
    # itops/data/priors.json
    "all-cause outages: enterprise server hardware 3-8 % a year, hardware being 57 % of causes in LANL LA-UR-05-7318 (node "
    "records 1995-2004: 0.1-1.4 a year)":
        "全部原因的停机：企业级服务器硬件每年3–8%，在LANL LA-UR-05-7318中硬件占原因的57%（1995–2004年节点记录：每年0.1–1.4次）",
    "array or controller outage, taken between disk and server": "阵列或控制器停机，取硬盘与服务器之间",
    "Backblaze Drive Stats: 4.2 % a year to 2015, about 1-1.5 % in recent years; middle taken":
        "Backblaze Drive Stats：至2015年为每年4.2%，近年约1–1.5%；取中间值",
    "1-3 % a year, general knowledge": "每年1–3%，一般经验",
    "as for a switch": "同交换机",
    "2-5 % a year, general knowledge": "每年2–5%，一般经验",
    "taken slightly above a UPS: moving parts": "略高于不间断电源：有运动部件",
    "lower end of the laptop range: no drops and spills": "取笔记本电脑范围的下限：无跌落与泼溅",
    "10-20 % a year including accident 3-6 %, general knowledge": "每年10–20%，其中意外3–6%，一般经验",
    "LANL LA-UR-05-7318, 16,254 node outages 1995-2004 with a positive down time: log-normal fitted to repairs of at most "
    "8 h, generalised Pareto to the excess over 8 h, both by maximum likelihood. High-performance clusters: other operators "
    "differ":
        "LANL LA-UR-05-7318，1995–2004年停机时间为正的16,254次节点停机：不超过8 h的修复拟合对数正态，超过8 h的部分拟合广义帕累托，"
        "均用最大似然。数据来自高性能集群：其他运营者会有差异",
    "spread of the true rate inside a class and year, 0.3-0.5": "同类设备同年内真实故障率的离散程度，0.3–0.5",
    "spread of next year's failure climate, common to all classes; 0.6 would be used in the first year of a new model":
        "下一年故障环境的离散程度，各类设备共同；新型号首年宜用0.6",
    "what the priors count for beside the record": "先验相对于自身记录的权重",
    # itops/data/shocks.json
    "site power or cooling: severe outages about 0.03 a site-year (Uptime Institute surveys 2020-2023: 55-78 % of sites with "
    "an outage in three years, about 4 % of outages severe). Length is a judgement: median 4 h, sigma 1.2 (Ponemon/Emerson: "
    "134 min for a total outage)":
        "站点电力或制冷：严重停机约为每站点年0.03次（Uptime Institute 2020–2023年调查：三年内55–78%的站点发生过停机，其中约4%为严重）。"
        "时长为判断：中位数4 h，sigma 1.2（Ponemon/Emerson：全面停机134分钟）",
    "loss of a site's connection; no public rate by site was found": "站点失去网络连接；未找到按站点公开的发生率",
    "a vendor's firmware batch: 0.02 a year for each model, hitting 5 to 50 % of its devices":
        "厂商固件批次问题：每型号每年0.02次，影响其5%至50%的设备",
    "a provider's region; Parametrix reports one or two events a month over all providers that affect customers, of which "
    "one region sees few":
        "云服务商的一个区域；Parametrix称全部服务商每月有一两次影响客户的事件，单个区域所占甚少",
    "a change that goes wrong across the fleet": "变更失误波及全部设备",
    "share of value lost by the JRC depth-damage curve (Huizinga et al. 2017) for commerce in Asia; outage in proportion to it":
        "按JRC水深–损失曲线（Huizinga等，2017，亚洲商业）计算的价值损失比例；停机时间与之成比例",
    "Emanuel (2011) with v_half 74.7 m/s on 1-minute winds; outage in proportion to it":
        "Emanuel（2011），v_half取74.7 m/s，1分钟平均风速；停机时间与之成比例",
    "HAZUS fragility of low concrete frames, high code (C1L), as `tocsin shake` has it; outage in proportion to it":
        "HAZUS低层混凝土框架（C1L，高设防）易损性，与`tocsin shake`一致；停机时间与之成比例",
    # itops/data/tariff.json
    "age in years at the middle of the period: below 2 early failures, 5-6 and 7+ wear":
        "保险期间中点的使用年限：2年以下为早期失效，5–6年及7年以上为磨损",
    "a device that is not repaired in 30 days is replaced; repair times of LANL have an infinite mean, and k of n needs a "
    "finite one":
        "30天内未修复的设备予以更换；LANL修复时间的均值为无穷大，而n取k计算需要有限均值",
    "accidents 1-2 % a year in a data centre, 3-6 % for portables; share of value Beta(0.8, 1.6) and 10-15 % total losses. "
    "The incident table has no damage amounts: nothing of this is updated by the record":
        "数据中心意外每年1–2%，便携设备3–6%；损失占价值的比例为Beta(0.8, 1.6)，其中10–15%为全损。事件表没有损坏金额：自身记录不更新此项",
    "a backup fails to restore in 8 % of storage failures; cost of one device log-normal, median 1,500-4,000 USD (Smith, "
    "Pepperdine: mean about 1,500 in 2010, inflated by 1.4), sigma 1.1":
        "8%的存储故障中备份无法恢复；单台费用为对数正态，中位数1,500–4,000美元（Smith，Pepperdine：2010年均值约1,500，按1.4倍通胀），sigma 1.1",
    "Cyentia IRIS 20/20, 2022, 2025: published frequencies and severities for the same quantity move tenfold between "
    "editions. No record of the insured and no telemetry enters":
        "Cyentia IRIS 20/20、2022、2025：同一数量的公开频率与强度在各版之间相差十倍。不采用被保险人的记录，也不采用遥测",
    "cost of inspections, of the part of a station's stand-by and of operating hours per device; effect on hazard by "
    "judgement, to be replaced by the work orders' own record":
        "单台设备的巡检、站点值守分摊与运维工时成本；对故障率的作用为判断，待以工单自身记录取代",
    "a station that serves others too: engineers on call by Erlang C so that 95 % of incidents are attended to within the "
    "tier's wait, spare parts so that 99 % of deliveries are bridged; 57 % of failures take a part (hardware's share in LANL "
    "LA-UR-05-7318); hours, wages, prices of parts and the station's other load are judgement":
        "站点同时服务其他客户：值班工程师按Erlang C配置，使95%的事件在等级规定的等待时间内得到处理；备件使99%的补货期不断供；57%的故障需用备件"
        "（LANL LA-UR-05-7318中硬件所占比例）；工时、工资、备件价格与站点其他负荷为判断",
    "credibility one half at 20 expected claims; a claim counts up to a quarter of the limit; swing 0.7 to 1.5; events that "
    "hit a whole site are left out, they are rated by site":
        "预期20次赔案时可信度为一半；每案最多计入限额的四分之一；浮动0.7至1.5；波及整个站点的事件不计入，按站点计费",
    "what is not known about the mean cost: repair times of other years (LANL layers above 8 h move by half between years), "
    "rates of shocks, damage and recovery":
        "平均成本的未知部分：其他年份的修复时间（LANL超过8 h的层各年相差一半）、冲击、损坏与恢复的发生率",
    # itops/data/alarms.json
    "What a signal says about next failures, and the work order it becomes. Annual failure rates by state: Backblaze Drive "
    "Stats 2013-2015 (2.4 % without reallocated sectors, 136 % above 100; 2.5 % without pending sectors, 795 % above 100); "
    "steps between are interpolated by judgement. Disks only.":
        "信号对后续故障的含义及其对应的工单。各状态的年故障率：Backblaze Drive Stats 2013–2015（无重分配扇区2.4%，超过100为136%；"
        "无待映射扇区2.5%，超过100为795%）；中间档次按判断插值。仅限硬盘。",
    # itops/quote.py: bases
    "by the insured; not audited": "投保人申报；未经审计",
    "by the insured, by device class; stands in for a service map": "投保人按设备类别申报；代替服务关系图",
    "by the insured; devices fail independently but for the shocks": "投保人申报；除冲击外各设备独立故障",
    "the submission does not say": "投保资料未给出",
    "a shock counts as one ticket for the availability cover; services that share devices fail independently in the "
    "attritional layer; a cover with a limit for the year shares only the regime with the others":
        "可用性险中一次冲击计为一张工单；共用设备的服务在常规层中独立故障；有年度限额的险别与其他险别仅共用环境因子",
    # names
    "overdispersion cv": "离散变异系数",
    "prior weights": "先验权重",
    "regime cv": "环境变异系数",
    "relativities of age, redundancy and monitoring": "年限、冗余与监测的相对系数",
    "replacement after": "更换期限",
    "data recovery": "数据恢复",
    "accidental damage": "意外损坏",
    "information security, prior only": "信息安全，仅凭先验",
    "parameter uncertainty": "参数不确定性",
    "dependence": "相依性",
    "alarms": "告警",
    "experience rating": "经验费率",
    "revenue per hour": "每小时收入",
    "share of revenue that one outage stops": "一次停机影响的收入比例",
    "station: engineers (Erlang C)": "站点：工程师（Erlang C）",
    "station: spare parts": "站点：备件",
    # values
    "50 device-years (end-user devices 200), 20 tickets": "50设备年（终端设备200），20张工单",
    "return levels of the submission": "投保资料给出的重现水平",
    "coefficients of variation of mean costs": "平均成本的变异系数",
    "claims beside the model's own expectation": "赔案与模型自身预期对照",
    "one regime factor common to all classes, and shocks as a layer of their own": "各类设备共用一个环境因子，冲击另成一层",
    "uniform over time": "在时间上均匀",
    "by the stated pattern of incidents": "按申报的事件时段分布",
    # notes
    "information security is priced from published figures alone: device telemetry does not change this premium":
        "信息安全险仅凭公开数据定价：设备遥测不影响该部分保费",
    "declined as asked: every premium here is an indication and not an offer; see the counter-offer":
        "按现条件拒保：此处保费均为参考，不构成要约；见反要约",
    # itops/shown.py: the comparison
    "no saving is shown: the contract's assets, service level and service credit must be known and the same":
        "不显示节省：须已知合同的资产、服务等级与服务抵扣，且均相同",
}  # fmt: skip


def _each(words: str, table: dict[str, str], rest: Callable[[str], str] = lambda x: x) -> str:
    """'server 0.1, disk 0.2' with each first word in Chinese."""
    out = []
    for item in words.split(", "):
        name, _, tail = item.partition(" ")
        out.append(f"{table.get(name, name)} {rest(tail)}")
    return "，".join(out)


def _table_names(tables: str) -> str:
    return {"fleet": "设备表", "incident": "事件表"}.get(tables, tables)


_DAYS: Final = dict(zip(("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"), "一二三四五六日",
                        strict=True))  # fmt: skip


def _week(text: str) -> str:
    """'monday to friday 08:00-18:00; holidays on 2 days' in Chinese."""
    out = []
    for part in text.split("; "):
        part = re.sub(r"^(\w+) to (\w+) ", lambda m: f"周{_DAYS[m[1]]}至周{_DAYS[m[2]]}", part)
        part = re.sub(r"^(\w+day) ", lambda m: f"周{_DAYS[m[1]]}", part)
        part = re.sub(r"^holidays on (\d+) days", r"节假日\1天", part)
        out.append(re.sub(r"^hours of their own on (\d+) days", r"调休及特别工作日\1天", part).replace(", ", "、"))
    return "；".join(out)


_RULES: Final[list[tuple[str, Callable[[re.Match[str]], str]]]] = [
    # names
    (r"frequency prior, (\w+)", lambda m: f"频率先验，{_CLASSES.get(m[1], m[1])}"),
    (r"repair-time prior, (\w+)", lambda m: f"修复时间先验，{_CLASSES.get(m[1], m[1])}"),
    (r"shock: (.+)", lambda m: f"冲击：{_SHOCKS.get(m[1], m[1])}"),
    (r"natural hazard: (.+)", lambda m: f"自然灾害：{_SHOCKS.get(m[1], m[1])}"),
    (r"service: (insurance|health care|managed)", lambda m: f"服务项目：{_PLANS[m[1]]}"),
    (r"fit of (rates|repair times), (\w+)", lambda m: f"拟合{_FITS[m[1]]}，{_CLASSES.get(m[2], m[2])}"),
    (r"service hours, (.+)", lambda m: f"服务时间：{m[1]}"),
    (r"service (.+)", lambda m: f"业务服务 {m[1]}"),
    # values
    (r"(\S+) a device-year, worth (\S+) device-years", lambda m: f"每设备年{m[1]}，相当于{m[2]}设备年"),
    (r"median (\S+) h \(body\), (\S+) above (\S+) h with tail shape (\S+), worth (\S+) tickets",
     lambda m: f"主体中位数{m[1]} h，{m[2]}超过{m[3]} h，尾部形状{m[4]}，相当于{m[5]}张工单"),
    (r"(\S+) to (\S+)", lambda m: f"{m[1]}至{m[2]}"),
    (r"a backup restores with (\S+); median cost (\S+)", lambda m: f"备份可恢复的概率{m[1]}；费用中位数{m[2]}"),
    (r"(\S+) a year, median (\S+) (\w{3}), sigma (\S+)", lambda m: f"每年{m[1]}，中位数{m[2]} {m[3]}，sigma {m[4]}"),
    (r"a year: (.+); valuation: (\w+)",
     lambda m: f"每年：{_each(m[1], _CLASSES)}；估值方式：{_VALUATIONS.get(m[2], m[2])}"),
    (r"(\S+) a year and (\w+), median (\S+) h",
     lambda m: f"每{_SCOPES.get(m[2], m[2])}每年{m[1]}次，中位数{m[3]} h"),
    (r"rates of failure x (\S+)", lambda m: f"故障率 × {m[1]}"),
    (r"(\d+) of (\d+) devices, (\S+) (\w{3}) an hour", lambda m: f"{m[2]}台中需{m[1]}台，每小时{m[3]} {m[4]}"),
    (r"(\d+) engineers on call for (\S+) busy, (\S+) of incidents attended within (\S+) h; this fleet is (\S+) of the load",
     lambda m: f"{m[1]}名工程师值班，平均{m[2]}名在忙；{m[3]}的事件在{m[4]} h内得到处理；本批设备占负荷的{m[5]}"),
    (r"(.+); by demand through a delivery", lambda m: f"{_each(m[1], _CLASSES)}；按补货期内需求"),
    (r"((?:\w+ \S+ %(?:, )?)+)", lambda m: _each(m[1], _CLASSES)),
    (r"their excess halves every (\S+) days", lambda m: f"其超出部分每{m[1]}天减半"),
    (r"(\S+) a device-year, coefficient of variation (\S+); (.+)",
     lambda m: f"每设备年{m[1]}，变异系数{m[2]}；{chinese(m[3])}"),
    (r"repair times of (\w+); spread of a year about its forecast (\S+); (.+)",
     lambda m: f"{_CLASSES.get(m[1], m[1])}修复时间；一年相对预测的离散{m[2]}；{chinese(m[3])}"),
    (r"(\d+) of (\d+) devices found by (\w+)(, the others get its collective)?",
     lambda m: f"{m[2]}台中按{m[3]}找到{m[1]}台" + ("，其余取整体水平" if m[4] else "")),
    (r"by the insured; starts of outages (.+); (\S+) of the time, (\S+) h a month; what comes after .+",
     lambda m: f"投保人申报；停机开始时间{chinese(m[1])}；占全部时间的{m[2]}，每月{m[3]} h；保险期间之后除所列日期外无特定日期"),
    (r"((?:monday|tuesday|wednesday|thursday|friday|saturday|sunday) .+) \((\S+)\)", lambda m: f"{_week(m[1])}（{m[2]}）"),
    # basis of a fit
    (r"`tocsin (\w+) fit` (.+), shape (\w+), as of (.+), from the (\w+); fit SHA-256 (\w+), record SHA-256 (\w+); (.+) "
     r"\(declared\)",
     lambda m: f"`tocsin {m[1]} fit` {m[2]}，格式{m[3]}，截止{m[4].replace('not dated', '无日期')}，"
     f"来自{'投保资料' if m[5] == 'submission' else '数据库' if m[5] == 'store' else m[5]}；拟合SHA-256 {m[6]}，"
     f"记录SHA-256 {m[7]}；"
     + ("与投保资料为同一记录，只计一次" if m[8].startswith("the submission's own") else "与投保资料为不同记录") + "（申报）"),
    # notes
    (r"(\d+) incidents opened outside the exposure window were not counted", lambda m: f"{m[1]}起事件在暴露期间之外开始，未计入"),
    (r"(\d+) incidents opened after the as-of date were not known then and were not counted",
     lambda m: f"{m[1]}起事件在数据截止日之后开始，当时未知，未计入"),
    (r"(\d+) incidents in (\d+) bursts that hit a site at once are rated as site shocks, not as failures of devices",
     lambda m: f"同时波及站点的{m[2]}次突发中的{m[1]}起事件按站点冲击计费，不作为设备故障"),
    (r"columns of the (\w+) table that were not read: (.+)", lambda m: f"{_table_names(m[1])}中未读取的列：{m[2]}"),
    (r"information security pays at most a quarter of the policy's limits in a year: (.+)",
     lambda m: f"信息安全险每年最多赔付保单限额之和的四分之一：{m[1].replace('none', '无')}"),
    (r"(\d+) devices have no site and are taken to stand together at one unknown site",
     lambda m: f"{m[1]}台设备未说明站点，视为同处一个未知站点"),
    (r"refer: risk load by cost of capital \((.+)\) and by Wang's transform \((.+)\) differ by more than 20 %",
     lambda m: f"转核保：资本成本风险附加（{m[1]}）与王氏变换风险附加（{m[2]}）相差超过20%"),
    (r"the (.+) of (.+) on the money grid is off by (\S+)",
     lambda m: f"{m[2]}的{_MOMENTS.get(m[1], m[1])}在金额网格上偏离{m[3]}"),
]  # fmt: skip
_COMPILED: Final = [(re.compile(pattern), made) for pattern, made in _RULES]


def chinese(text: str) -> str:
    """An assumption's name, value or basis, or a note, in Chinese; as it stands where it has no words of ours."""
    known = _TEXTS.get(text)
    if known is not None:
        return known
    for pattern, made in _COMPILED:
        match = pattern.fullmatch(text)
        if match is not None:
            return made(match)
    return text


def on_paper(text: str, language: str) -> str:
    """The same in the paper's language."""
    return chinese(text) if language == "zh" else text
