"""Run JSON Schema's official test suite against the validator of arguments and answers.

The suite comes with the source package of jsonschema, which pip downloads to a temporary folder.
A test counts as not judged if the validator says that it cannot use the schema: it fetches no other
documents, for example.
"""

import json
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.api.json_schema import validator_of

PACKAGE = "jsonschema==4.26.0"
DRAFTS = {
    "draft4": "http://json-schema.org/draft-04/schema#",
    "draft6": "http://json-schema.org/draft-06/schema#",
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
"""Those that strict mode enforces; of others, the suite has tests that do not apply."""
_SHOWN = 12  # wrong results of a draft


def fetch(folder: Path) -> Path:
    """Download the suite, and return its folder."""
    options = ["--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, PACKAGE], check=True)
    with tarfile.open(next(folder.glob("*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/json/tests"))


def files(suite: Path, draft: str) -> Iterator[tuple[Path, bool]]:
    """Yield the files of a draft, and whether their formats are to be enforced."""
    for file in sorted((suite / draft).glob("*.json")):
        yield file, False
    for name in FORMATS:
        if (file := suite / draft / "optional" / "format" / f"{name}.json").exists():
            yield file, True
    for name in ("bignum", "ecmascript-regex", "float-overflow", "non-bmp-regex"):
        if (file := suite / draft / "optional" / f"{name}.json").exists():
            yield file, False


def result(schema: Any, value: object, *, strict: bool, draft: str) -> bool | None:  # noqa: ANN401
    """Whether a value conforms, in our judgement; None if the schema cannot be used."""
    given = schema if isinstance(schema, dict) else {"allOf": [schema]}
    validator = validator_of({"$schema": DRAFTS[draft]} | given, strict=strict)
    if validator.unusable is not None or validator.left_out:
        return None
    return validator.misfit(value) is None


def main() -> None:
    """Print how many tests of each draft are judged right, wrong, and not at all."""
    with tempfile.TemporaryDirectory() as folder:
        suite = fetch(Path(folder))
        print(f"{'draft':14}{'right':>7}{'wrong':>7}{'not judged':>12}")
        for draft in DRAFTS:
            counts: Counter[bool | None] = Counter()
            wrong = []
            for file, strict in files(suite, draft):
                for group in json.loads(file.read_text("utf-8")):
                    for test in group["tests"]:
                        judged = result(group["schema"], test["data"], strict=strict, draft=draft)
                        right = None if judged is None else judged is test["valid"]
                        counts[right] += 1
                        if right is False:
                            name = f"{file.stem}: {group['description']}: {test['description']}"
                            wrong.append(name)
            print(f"{draft:14}{counts[True]:7}{counts[False]:7}{counts[None]:12}")
            for name in wrong[:_SHOWN]:
                print(f"  wrong: {name}")


if __name__ == "__main__":
    main()
