"""The base of the types that are written to disk."""

from pydantic import BaseModel, ConfigDict, ValidationError


class Record(BaseModel):
    """Base of all types that are written to disk: immutable.

    Unknown fields are ignored, because another version wrote them: an old run folder stays
    readable. What users write is read with `extra="forbid"`, so that a misspelled key is an error.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")


def problem_of(error: Exception) -> str:
    """Return what is wrong with a file; for invalid contents, the first problem and its place."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"the field {place} is missing"
    return f"{place}: {first['msg']}" if place else first["msg"]
