"""JSON responses and OpenAI's errors: `{"error": {"message", "type", "param", "code"}}`."""

from collections.abc import Mapping

import orjson
from starlette.responses import Response


class ApiError(Exception):
    """A request fails; has the status, message, field, code and headers of the response."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def kind(self) -> str:
        """OpenAI's error type for this status."""
        if self.status == 429:
            return "requests"
        return "invalid_request_error" if self.status < 500 else "server_error"

    def body(self) -> dict[str, object]:
        """Return the JSON body of the response, and the data of an error event in a stream."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """Return the HTTP response."""
        return json_response(self.body(), self.status, self.headers)


def json_response(
    data: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a response with a JSON body."""
    return Response(orjson.dumps(data), status, headers, media_type="application/json")


def invalid(param: str, message: str, code: str = "invalid_value") -> ApiError:
    """Return a 400 error for one field of the request."""
    return ApiError(400, message, param=param, code=code)


def internal_error() -> ApiError:
    """Return the error of a defect of the server. The cause goes to the log, not to the client."""
    return ApiError(500, "The server had an error while processing the request.")


def stopping() -> ApiError:
    """Return the error of a server that is shutting down."""
    return ApiError(503, "The server is shutting down.", code="server_stopping")
