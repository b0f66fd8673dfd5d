"""Draw a report of costs as a bar chart, with altair and vl-convert, which are imported only when it is drawn."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .groupings import is_time

if TYPE_CHECKING:
    from .report import CostReport

MAX_SERIES: Final = 12
"""Groups that are shown; the others are summed up."""
MAX_LABEL: Final = 40
MAX_TIMES: Final = 2000
"""Bars by time, at most; longer gaps are left out."""
OTHER: Final = "other"
NONE: Final = "(none)"
WIDTH: Final = 720
_TIME_HEIGHT: Final = 320
_BAR_STEP: Final = 26
_DARK, _GRAY, _FIRST = "#1f2430", "#6b7280", "#2f6fde"
_COLORS: Final = (
    "#2f6fde", "#e8743b", "#19a979", "#945ecf", "#ed4a7b", "#13a4b4", "#d9a514", "#6c8893", "#bf399e", "#525df4",
    "#7fb800", "#a0522d", "#b6bcc8",
)  # fmt: skip


def write_chart(report: CostReport, path: str | os.PathLike[str]) -> None:
    """Draw a report to an `.svg` or `.png` file; see `CostReport.chart`."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".svg", ".png"):
        raise ValueError(f"a chart is an .svg or a .png file, not {target.name!r}")
    vl_convert = _import("vl_convert")
    specification = chart_of(report).to_dict()
    if suffix == ".svg":
        target.write_text(vl_convert.vegalite_to_svg(specification), encoding="utf-8")
    else:
        target.write_bytes(vl_convert.vegalite_to_png(specification, scale=2))


def chart_of(report: CostReport) -> Any:
    """Return the chart of a report as an `altair.LayerChart` or `altair.Chart`, to change or to show in a notebook."""
    altair = _import("altair")
    bars = _bars(report)
    base = altair.Chart(altair.Data(values=bars), title=_title(altair, report)).mark_bar(color=_FIRST)
    money = altair.Axis(title="cost in USD", format=_number_format(bars), gridColor="#e5e7eb", tickCount=8)
    scale_of_costs = altair.Scale() if any(bar["cost"] for bar in bars) else altair.Scale(domain=[0, 1])
    if report.by and is_time(report.by[0]):
        times = list(dict.fromkeys(bar["time"] for bar in bars))
        encodings: dict[str, Any] = {
            "x": altair.X(
                "time:N",
                title=f"{report.by[0]} (UTC)",
                sort=times,
                axis=altair.Axis(labelAngle=-45, values=_some(times)),
            ),
            "y": altair.Y("cost:Q", axis=money, stack="zero", scale=scale_of_costs),
        }
        size: dict[str, Any] = {"width": WIDTH, "height": _TIME_HEIGHT}
    else:
        names = list(dict.fromkeys(bar["name"] for bar in bars))
        encodings = {
            "y": altair.Y("name:N", title=None, sort=names, axis=altair.Axis(labelLimit=320)),
            "x": altair.X("cost:Q", axis=money, stack="zero", scale=scale_of_costs),
        }
        size = {"width": WIDTH, "height": altair.Step(_BAR_STEP)}
    series = list(dict.fromkeys(bar["series"] for bar in bars))
    if series != [""]:
        series.sort(key=lambda name: -sum(bar["cost"] for bar in bars if bar["series"] == name and name != OTHER))
        scale = altair.Scale(domain=series, range=[*_COLORS[: len(series)]])
        title = " and ".join(report.by[1:])
        encodings["color"] = altair.Color("series:N", title=title, sort=series, scale=scale)
        encodings["order"] = altair.Order("rank:Q")
        for bar in bars:
            bar["rank"] = series.index(bar["series"])
    text = {"labelColor": _DARK, "titleColor": _DARK, "labelFontSize": 11, "titleFontSize": 12}
    return (
        base.encode(**encodings)
        .properties(**size, background="white", padding=16)
        .configure_view(stroke=None)
        .configure_axis(**text, domainColor=_GRAY, tickColor=_GRAY)
        .configure_legend(**text, labelLimit=260)
    )


def _title(altair: Any, report: CostReport) -> Any:
    total = report.total
    first = f"{_money(total.cost)} for {total.executions:,} executions"
    until = "now" if report.until is None else f"{report.until:%Y-%m-%d %H:%M}"
    since = "90 days ago" if report.since is None else f"{report.since:%Y-%m-%d %H:%M}"
    lines = [f"created from {since} to {until} (UTC)", *report.notes]
    return altair.TitleParams(
        first,
        subtitle=lines,
        anchor="start",
        color=_DARK,
        subtitleColor=_GRAY,
        fontSize=17,
        subtitleFontSize=12,
        offset=12,
    )


def _money(cost: Decimal) -> str:
    """Return an amount in dollars, with cents, or with two digits if it is less than a cent."""
    return f"${cost:,.2f}" if cost >= Decimal("0.01") or not cost else f"${cost:.2g}"


def _number_format(bars: Sequence[dict[str, Any]]) -> str:
    largest = max((bar["cost"] for bar in bars), default=0.0)
    return "$,.0f" if largest >= 10 else "$,.2f" if largest >= 0.1 else "$.2~g"


def _bars(report: CostReport) -> list[dict[str, Any]]:
    """Return one bar, or part of one, for each group: `time` or `name`, `series` and `cost`."""
    by_time = bool(report.by) and is_time(report.by[0])
    divided = report.by[1:]
    largest = _most_expensive(report, slice(1, None) if by_time or divided else slice(0, 0))
    first = _most_expensive(report, slice(0, 1))
    sums: dict[tuple[str, str], Decimal] = {}
    for group in report.groups:
        series = _label(group.key[1:]) if divided else ""
        if divided and series not in largest:
            series = OTHER
        place = _label(group.key[:1]) if report.by else "all executions"
        if report.by and not by_time and place not in first:
            place = OTHER
        sums[place, series] = sums.get((place, series), Decimal()) + group.cost
    word = "time" if by_time else "name"
    bars: list[dict[str, Any]] = [
        {word: place, "series": series, "cost": float(cost)} for (place, series), cost in sums.items()
    ]
    if not bars:
        return [{word: "no executions", "series": "", "cost": 0.0}]
    if by_time:
        series = bars[0]["series"]
        known = {bar["time"] for bar in bars}
        bars += [{"time": at, "series": series, "cost": 0.0} for at in _between(known) if at not in known]
        return sorted(bars, key=lambda bar: bar["time"])
    totals: dict[str, float] = {}
    for bar in bars:
        totals[bar["name"]] = totals.get(bar["name"], 0.0) + bar["cost"]
    return sorted(bars, key=lambda bar: (bar["name"] == OTHER, -totals[bar["name"]]))


def _most_expensive(report: CostReport, part: slice) -> set[str]:
    sums: dict[str, Decimal] = {}
    for group in report.groups:
        label = _label(group.key[part])
        sums[label] = sums.get(label, Decimal()) + group.cost
    return {*sorted(sums, key=lambda label: -sums[label])[:MAX_SERIES]}


def _label(key: Sequence[str | None]) -> str:
    text = ", ".join(NONE if word is None else word for word in key)
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def _between(times: Collection[str]) -> list[str]:
    """Return all days, months or hours from the first to the last one, so that the axis has no gap."""
    known = sorted(time for time in times if time != NONE)
    if not known:
        return []
    form = {7: "%Y-%m", 10: "%Y-%m-%d"}.get(len(known[0]), "%Y-%m-%dT%H:00Z")
    step = timedelta(hours=1) if len(known[0]) > 10 else timedelta(days=1)
    at, found = datetime.strptime(known[0], form), [known[0]]
    while found[-1] < known[-1] and len(found) < MAX_TIMES:
        at += step
        if (text := at.strftime(form)) != found[-1]:
            found.append(text)
    return found


def _some(times: Sequence[str]) -> list[str]:
    """Return at most about thirty of the times, evenly spread, for the labels of the axis."""
    return list(times[:: -(-len(times) // 30) or 1])


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f'charts need altair and vl-convert ({error}): pip install "eachlabs-async[charts]"'
        ) from None
