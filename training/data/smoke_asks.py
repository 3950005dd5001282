"""Requests for the six smoke tools and for their relatives with other names and parameters."""

from collections.abc import Mapping

from training.data.catalogue import SMOKE_TOOLS
from training.data.chart_asks import chart
from training.data.language_asks import language
from training.data.markdown_asks import markdown
from training.data.status_asks import status
from training.data.table_asks import query
from training.data.task import Asker
from training.data.weather_asks import weather
from training.data.whole_asks import with_whole_requests

COMPOSED: Mapping[str, Asker] = {
    "service_status": status,
    "get_system_health": status,
    "get_weather": weather,
    "identify_language": language,
    "detect_language": language,
    "markdown_to_html": markdown,
    "draw_chart": chart,
    "generate_chart": chart,
    "query_table": query,
    "query_database": query,
}
"""Askers that compose requests from parts, by tool name."""

ASKERS: Mapping[str, Asker] = {
    **COMPOSED,
    **{tool.name: with_whole_requests(COMPOSED[tool.name]) for tool in SMOKE_TOOLS},
}
"""The same, but those of the smoke tools also use complete requests."""
