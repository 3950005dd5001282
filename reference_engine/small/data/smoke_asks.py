"""Requests for the six smoke tools and for their relatives with other names and parameters."""

from __future__ import annotations

from collections.abc import Mapping

from reference_engine.small.data.chart_asks import chart
from reference_engine.small.data.language_asks import language
from reference_engine.small.data.markdown_asks import markdown
from reference_engine.small.data.status_asks import status
from reference_engine.small.data.table_asks import query
from reference_engine.small.data.task import Asker
from reference_engine.small.data.weather_asks import weather
from reference_engine.small.data.whole_asks import with_whole_requests

ASKERS: Mapping[str, Asker] = {
    "service_status": with_whole_requests(status),
    "get_system_health": status,
    "get_weather": with_whole_requests(weather),
    "identify_language": with_whole_requests(language),
    "detect_language": language,
    "markdown_to_html": with_whole_requests(markdown),
    "draw_chart": with_whole_requests(chart),
    "generate_chart": chart,
    "query_table": with_whole_requests(query),
    "query_database": query,
}
