"""The kinds of panels that the dashboards are made of: one look, changed in one place.

Colours have meanings: green is well, orange wants a look, red wants an act, blue is neither.
"""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common as shared
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = [
    "BLUE",
    "GREEN",
    "LOKI",
    "ORANGE",
    "PURPLE",
    "RED",
    "TEMPO",
    "ask",
    "figure",
    "graph",
    "rows",
    "steps",
    "switch",
]

GREEN, ORANGE, RED, BLUE, PURPLE = "green", "orange", "red", "blue", "purple"

PROMETHEUS = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
TEMPO = common.DataSourceRef(type_val="tempo", uid="${tempo}")
LOKI = common.DataSourceRef(type_val="loki", uid="${loki}")


def ask(
    expr: str, legend: str = "", *, exemplars: bool = False, table: bool = False
) -> prometheus.Dataquery:
    """Return a query; `exemplars` asks for the traces of single requests too."""
    query = prometheus.Dataquery().expr(expr).datasource(PROMETHEUS).legend_format(legend)
    if table:
        return query.instant().format(PromQueryFormat.TABLE)
    return query.range().exemplar(exemplar=exemplars)


def steps(*bounds: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    """Return the colour from each value upwards; the first, from `None`, is the lowest."""
    return (
        dashboard.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in bounds])
    )


def figure(
    title: str,
    about: str,
    query: prometheus.Dataquery,
    *,
    unit: str = "short",
    colors: dashboard.ThresholdsConfig | None = None,
    texts: Mapping[str, tuple[str, str]] | None = None,
    decimals: int | None = None,
    none: str = "no data",
) -> stat.Panel:
    """Return one figure with its course behind it; `texts` are (text, colour) by value."""
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .with_target(query.ref_id("A"))
        .unit(unit)
        .no_value(none)
        .thresholds(colors or steps((None, BLUE)))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE if texts else common.BigValueGraphMode.AREA)
        .reduce_options(shared.ReduceDataOptions().calcs(["lastNotNull"]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return panel.mappings([_texts(texts)]) if texts else panel


def graph(
    title: str,
    about: str,
    *queries: prometheus.Dataquery,
    unit: str = "short",
    stacked: bool = False,
    bars: bool = False,
    limits: dashboard.ThresholdsConfig | None = None,
    colors: Mapping[str, str] | None = None,
    top: float | None = None,
) -> lines.Panel:
    """Return values over time; `limits` are drawn as dashed lines, `colors` are by legend."""
    panel = (
        lines.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .targets([query.ref_id(chr(ord("A") + at)) for at, query in enumerate(queries)])
        .unit(unit)
        .min(0)
        .draw_style(common.GraphDrawStyle.BARS if bars else common.GraphDrawStyle.LINE)
        .fill_opacity(60 if bars else 25 if stacked else 5)
        .line_width(1)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            shared.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
            .calcs(["lastNotNull", "max"])
            .sort_by("Last *")
            .sort_desc(sort_desc=True)
        )
        .tooltip(
            shared.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel.stacking(shared.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if limits is not None:
        panel.thresholds(limits).thresholds_style(
            shared.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        )
    if top is not None:
        panel.max(top)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_fixed(color)])
    return panel


def switch(
    title: str, about: str, query: prometheus.Dataquery, texts: Mapping[str, tuple[str, str]]
) -> statetimeline.Panel:
    """Return what was when, as bars over time; `texts` are (text, colour) by value."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(PROMETHEUS)
        .with_target(query.ref_id("A"))
        .mappings([_texts(texts)])
        .thresholds(steps((None, BLUE)))
        .merge_values(merge_values=True)
        .show_value(common.VisibilityMode.AUTO)
        .legend(shared.VizLegendOptions().show_legend(show_legend=False))
        .fill_opacity(80)
    )


def rows(
    title: str,
    about: str,
    columns: Mapping[str, tuple[prometheus.Dataquery, str, dashboard.ThresholdsConfig | None]],
    by: Mapping[str, str],
    first: str,
) -> table.Panel:
    """Return one line per label value: each column's query joined by the labels `by`.

    `columns` are (query, unit, colours) by heading, `by` headings by label, `first` the column that
    sorts, greatest first.
    """
    panel = table.Panel().title(title).description(about).datasource(PROMETHEUS)
    headings = dict(by)
    for at, (heading, (query, unit, colors)) in enumerate(columns.items()):
        letter = chr(ord("A") + at)
        panel.with_target(query.ref_id(letter))
        headings[f"Value #{letter}"] = heading
        look = [models.DynamicConfigValue(id_val="unit", value=unit)]
        if colors is not None:
            look.append(models.DynamicConfigValue(id_val="thresholds", value=colors.build()))
            look.append(
                models.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"})
            )
        panel.override_by_name(heading, look)
    transformations: Sequence[tuple[str, object]] = (
        ("merge", {}),
        ("organize", {"excludeByName": {"Time": True}, "renameByName": headings}),
        ("sortBy", {"sort": [{"field": first, "desc": True}]}),
    )
    for name, options in transformations:
        panel.with_transformation(models.DataTransformerConfig(id_val=name, options=options))
    return panel


def _fixed(color: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})


def _texts(texts: Mapping[str, tuple[str, str]]) -> models.ValueMap:
    return models.ValueMap(
        options={
            value: models.ValueMappingResult(text=text, color=color, index=at)
            for at, (value, (text, color)) in enumerate(texts.items())
        }
    )
