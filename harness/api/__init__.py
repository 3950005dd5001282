"""The two APIs a provider may speak: how to ask, how to read an answer, how to go on."""

from __future__ import annotations

from collections.abc import Mapping

from harness.api.base import Dialect
from harness.api.chat import ChatDialect
from harness.api.responses import ResponsesDialect
from harness.records.rollouts import Api

DIALECTS: Mapping[Api, Dialect] = {"responses": ResponsesDialect(), "chat": ChatDialect()}
