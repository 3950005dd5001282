"""The docstring of `harness` lists its packages in the order of the import contract."""

import re
import tomllib
from pathlib import Path

import harness

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_packages_are_listed_in_the_order_of_their_layers():
    contracts = tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["harness"])
    layer_of = {name: number for number, layer in enumerate(layers) for name in layer.split(" | ")}
    listing = re.findall(r"^    (.+)$", harness.__doc__ or "", flags=re.MULTILINE)
    listed = [*(line.split()[0] for line in listing[:-1]), *listing[-1].split(", ")]
    assert sorted(listed) == sorted(layer_of)
    assert [layer_of[name] for name in listed] == sorted(layer_of.values())
