#!/bin/sh
# foundry-local-sdk 2.2.1: a model that is registered from a folder is in the local catalog, and the web
# service answers for it at /catalogs/local/v1 only. At /v1, where OpenAI's clients are told to look,
# the list of models is empty, and a request for it gets status 404 "Model not found".
# Seen 2026-11-30: /v1/models: [] /catalogs/local/v1/models: ['mine:1']
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check foundry-local-sdk==2.2.1
mkdir "$folder/model"
echo '{"model": {"type": "gptoss", "context_length": 4096}}' > "$folder/model/genai_config.json"
"$folder/venv/bin/python" - "$folder" 2> /dev/null <<'PYTHON'
import json
import sys
from socket import socket
from urllib.request import urlopen

from foundry_local_sdk import CatalogType, Configuration, FoundryLocalManager, ModelInfoBuilder

folder = sys.argv[1]
with socket() as free:
    free.bind(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{free.getsockname()[1]}"
FoundryLocalManager.initialize(
    Configuration(
        "mine",
        app_data_dir=folder,
        model_cache_dir=f"{folder}/models",
        web=Configuration.WebService(urls=url),
        disable_nonessential_telemetry=True,
    )
)
manager = FoundryLocalManager.instance
about = ModelInfoBuilder()
about.set_string_property("task", "chat-completion")
manager.get_catalog(CatalogType.LOCAL).register_model(f"{folder}/model", "mine:1", about)
manager.start_web_service()
found = {}
for path in ("/v1/models", "/catalogs/local/v1/models"):
    with urlopen(url + path) as reply:
        found[path] = [model["id"] for model in json.load(reply)["data"]]
print(*(f"{path}: {ids}" for path, ids in found.items()))
manager.stop_web_service()
sys.exit(found != {"/v1/models": [], "/catalogs/local/v1/models": ["mine:1"]})
PYTHON
