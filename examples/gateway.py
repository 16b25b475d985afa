"""The gateway inside a program, with pretend models behind a URL: run `python examples/gateway.py`.

`headrace serve serve.toml` does the same from the command line; `headrace serve --demo` needs nothing at all.
"""

import json
import socket
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import uvicorn

import headrace as hr
from headrace.gateway.pretend import PRICES, ask, pretend_app, question, right_answer
from headrace.gateway.serving import app_of
from headrace.gateway.settings import read_settings


def served(app):
    """Serve an app in a thread, at a free port of this machine; give its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    threading.Thread(target=server.run, args=([listening],), daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def asked(url, number):
    """Ask the gateway as OpenAI's client does; give the receipt."""
    query = question(number)
    headrace = {"id": f"q-{number}", "columns": {"looks_hard": query["looks_hard"]}}
    body = {"messages": [{"role": "user", "content": query["text"]}], "headrace": headrace}
    request = urllib.request.Request(
        f"{url}/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)["headrace"]


models = {name: lambda query, name=name: ask(name, int(query["text"].split()[1][:-1])) for name in PRICES}
log = hr.Outcomes.collect(
    [question(number) for number in range(400)],
    models,
    references=[right_answer(number) for number in range(400)],
    quality=lambda query, returned, right: returned["answer"] == right,
)
folder, provider = Path(tempfile.mkdtemp()), served(pretend_app())
hr.Router(quality="linear").fit(log.without(["seconds"]), budget=6e-5).save(folder / "router.headrace")
targets = [
    f'[targets.{name}]\nurl = "{provider}"\nmodel = "{name}"\nprices = {{ input = {price}, output = {price} }}\n'
    for name, price in PRICES.items()
]
(folder / "serve.toml").write_text('router = "router.headrace"\n' + "".join(targets))
gateway = served(app_of(read_settings(folder / "serve.toml")))
receipts = [asked(gateway, number) for number in range(5000, 5020)]
for receipt in receipts[:3]:
    print("ran", " > ".join(receipt["runs"]), "for", receipt["cost"])
print(f"{len(receipts)} answers, mean cost {sum(r['cost']['cost'] for r in receipts) / len(receipts):.2g}")
