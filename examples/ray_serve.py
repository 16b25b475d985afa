"""The gateway as a Ray Serve deployment with two replicas: run `python examples/ray_serve.py` (ray[serve] is needed).

On a cluster, put the router's file and serve.toml where every node reads them, and leave out the pretend models.
"""

import json
import tempfile
import threading
import urllib.request
from pathlib import Path

import headrace as hr

try:
    from ray import serve
except ImportError as error:
    raise SystemExit(f"needs Ray Serve: pip install 'ray[serve]' ({error.name} is missing)") from None

import uvicorn

from headrace.gateway.pretend import PRICES, ask, pretend_app, question, right_answer
from headrace.gateway.serving import app_of
from headrace.gateway.settings import read_settings

MODELS_PORT = 8701


def written(folder: Path) -> Path:
    """Fit a router on pretend models, and write its file and serve.toml."""
    models = {name: lambda query, name=name: ask(name, int(query["text"].split()[1][:-1])) for name in PRICES}
    log = hr.Outcomes.collect(
        [question(number) for number in range(400)],
        models,
        references=[right_answer(number) for number in range(400)],
        quality=lambda query, returned, right: returned["answer"] == right,
    )
    hr.Router().fit(log.without(["seconds"]), budget=6e-5).save(folder / "router.headrace")
    targets = [
        f'[targets.{name}]\nurl = "http://127.0.0.1:{MODELS_PORT}/v1"\nmodel = "{name}"\n'
        f"prices = {{ input = {price}, output = {price} }}\n"
        for name, price in PRICES.items()
    ]
    settings = folder / "serve.toml"
    settings.write_text('router = "router.headrace"\n' + "".join(targets))
    return settings


def main() -> None:
    """Serve, ask, and say who answered."""
    server = uvicorn.Server(uvicorn.Config(pretend_app(), port=MODELS_PORT, log_level="warning"))
    threading.Thread(target=server.run, daemon=True).start()
    settings = str(written(Path(tempfile.mkdtemp())))

    @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.5})
    @serve.ingress(lambda: app_of(read_settings(settings)))
    class Gateway:
        """The app of each replica: breakers and numbers are its own."""

    serve.run(Gateway.bind(), route_prefix="/")
    answered = []
    for number in range(5000, 5020):
        query = question(number)
        told = {"id": f"q-{number}", "columns": {"looks_hard": query["looks_hard"]}}
        body = {"messages": [{"role": "user", "content": query["text"]}], "headrace": told}
        asked = urllib.request.Request(
            "http://127.0.0.1:8000/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=30) as response:
            answered.append(json.load(response)["headrace"])
    print(f"{len(answered)} answers: " + ", ".join(" > ".join(one["runs"]) for one in answered[:5]) + ", ...")
    print(f"mean cost {sum(one['cost']['cost'] for one in answered) / len(answered):.2g}")
    serve.shutdown()


if __name__ == "__main__":
    main()
