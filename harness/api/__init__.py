"""The APIs of a provider: how to build a request, read a reply and continue a conversation."""

from collections.abc import Mapping

from harness.api.chat import ChatDialect
from harness.api.dialect import Dialect
from harness.api.harmony import HarmonyDialect
from harness.api.responses import ResponsesDialect
from harness.records.conditions import Api

DIALECTS: Mapping[Api, Dialect] = {
    dialect.api: dialect for dialect in (ResponsesDialect(), ChatDialect(), HarmonyDialect())
}
