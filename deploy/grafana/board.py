"""A dashboard as lines of panels, what all of them have in common, and their variables.

Grafana's grid has 24 columns. A line fills all of them with panels of one height: what does not is
refused here, so that no dashboard has a gap.
"""

from collections.abc import Sequence
from typing import Self, TypeAlias

from grafana_foundation_sdk.builders import (
    dashboard,
    logs,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

__all__ = ["Board", "console", "gateway_job", "job", "replica", "source", "textbox"]

COLUMNS = 24

#: Dashboards of this tag link to each other.
TAG = "sekring"


Panel: TypeAlias = logs.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel
Variable: TypeAlias = (
    dashboard.DatasourceVariable | dashboard.QueryVariable | dashboard.TextBoxVariable
)


class Board:
    """One dashboard under construction."""

    def __init__(
        self, uid: str, title: str, about: str, variables: Sequence[Variable], hours: int = 3
    ) -> None:
        """Begin an empty dashboard that shows the last `hours` hours."""
        self._board = (
            dashboard.Dashboard(f"Sekring / {title}")
            .uid(f"sekring-{uid}")
            .description(about)
            .tags([TAG])
            .time(f"now-{hours}h", "now")
            .refresh("30s")
            .timezone("browser")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .link(
                dashboard.DashboardLink("Sekring")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags([TAG])
                .include_vars(include_vars=True)
                .keep_time(keep_time=True)
            )
        )
        for variable in variables:
            self._board.with_variable(variable)
        self._panels = 0

    def link(self, title: str, url: str, tooltip: str) -> Self:
        """Add a link at the top that opens beside Grafana."""
        self._board.link(
            dashboard.DashboardLink(title)
            .type(models.DashboardLinkType.LINK)
            .url(url)
            .icon("external link")
            .tooltip(tooltip)
            .target_blank(target_blank=True)
        )
        return self

    def section(self, title: str) -> Self:
        """Begin a section with a heading."""
        self._panels += 1
        self._board.with_row(dashboard.Row(title).id(self._panels))
        return self

    def line(self, height: int, *panels: Panel, widths: Sequence[int] = ()) -> Self:
        """Put panels beside each other, equally wide unless `widths` says how many columns each.

        Raises ValueError if they do not fill the line.
        """
        widths = widths or [COLUMNS // len(panels)] * len(panels)
        if sum(widths) != COLUMNS or len(widths) != len(panels):
            raise ValueError(f"{len(panels)} panels of the widths {widths} do not fill a line")
        for panel, width in zip(panels, widths, strict=True):
            self._panels += 1
            self._board.with_panel(panel.id(self._panels).height(height).span(width))
        return self

    def build(self) -> models.Dashboard:
        """Return the dashboard."""
        return self._board.build()


# ---------------------------------------------------------------------------- variables


def source(name: str, label: str, plugin: str) -> dashboard.DatasourceVariable:
    """Return the choice of a data source of the kind `plugin`; `$name` stands for it."""
    return dashboard.DatasourceVariable(name).label(label).type(plugin)


def job() -> dashboard.QueryVariable:
    """Return the choice of a deployment of the service: the job that Prometheus scrapes it as."""
    return _labels("job", "Deployment", "label_values(sekring_instances, job)")


def gateway_job() -> dashboard.QueryVariable:
    """Return the choice of a deployment of gateways."""
    return _labels("job", "Deployment", "label_values(sekring_gateway_capacity, job)")


def replica(metric: str, label: str) -> dashboard.QueryVariable:
    """Return the choice of one, several or all processes that expose `metric`."""
    chosen = _labels("replica", label, f'label_values({metric}{{job="$job"}}, instance)')
    everything = models.VariableOption(text="All", value="$__all", selected=True)
    return (
        chosen.multi(multi=True).include_all(include_all=True).all_value(".+").current(everything)
    )


def textbox(name: str, label: str, value: str, about: str) -> dashboard.TextBoxVariable:
    """Return a text to be typed in."""
    return dashboard.TextBoxVariable(name).label(label).default_value(value).description(about)


def console() -> dashboard.TextBoxVariable:
    """Return where a browser finds the console: what the links to it begin with."""
    return textbox(
        "console", "Console", "http://localhost:8000", "Address of Sekring's console, for the links"
    )


def _labels(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(common.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )
