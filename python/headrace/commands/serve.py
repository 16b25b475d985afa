"""``headrace serve``: the gateway, for one's own models or for three pretend ones."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.arguments import listed
from headrace.commands.console import notes, told
from headrace.extras import imported

EXAMPLES = (
    "Examples: [bold]headrace serve --demo[/]; [bold]headrace serve router.headrace --targets serve.toml[/]; then "
    "[bold]OPENAI_BASE_URL=http://127.0.0.1:8700/v1 python my_app.py[/]"
)


def serve(
    router: Annotated[
        Path | None, typer.Argument(help="The router, as headrace fit wrote it; by default the one in serve.toml.")
    ] = None,
    targets: Annotated[
        Path, typer.Option(help="serve.toml: where the models are, what they cost, limits, the log.")
    ] = Path("serve.toml"),
    host: Annotated[str | None, typer.Option(help="Address to listen at; 127.0.0.1 unless serve.toml says so.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 8700 unless serve.toml says so.", min=0, max=65535)] = None,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 1,
    demo: Annotated[
        bool, typer.Option("--demo", help="Serve three pretend models, and ask them. No key needed.")
    ] = False,
    queries: Annotated[
        int, typer.Option(help="With --demo: questions asked, then it ends; 0 = until Ctrl-C.", min=0)
    ] = 0,
) -> None:
    """Serve a router in OpenAI's format: apps need another base URL, and no other change."""
    console = notes()
    with told(console):
        uvicorn = imported("uvicorn", "headrace serve")
        if demo and (router is not None or host is not None or workers > 1):
            raise ValueError("--demo: expected no other options than --port and --queries")
        if demo:
            from headrace.commands.serve_demo import run_demo

            run_demo(port=8700 if port is None else port, n_queries=queries)
            return
        from headrace.gateway.serving import KEEP_ALIVE_S, ROUTER_VARIABLE, SETTINGS_VARIABLE, app_of, bound
        from headrace.gateway.settings import checked, read_settings

        if not targets.exists():
            raise ValueError(f"{targets}: no such file; it says where the models are (--targets), or try --demo")
        settings = read_settings(targets)
        given: dict[str, Any] = {"router": router, "host": host, "port": port}
        settings = checked(replace(settings, **{name: value for name, value in given.items() if value is not None}))
        app = app_of(settings)
        with bound(settings.host, settings.port) as held:  # uvicorn's own message for a port that is taken is long
            free = held.getsockname()[1]
        where = f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{free}"
        decider = app.state.gateway.runner.decider
        console.print(decider.headline)
        if further := [name for name in decider.query_columns if name != "text"]:
            console.print(
                f'beside the text, the fit had {listed(further)} of a query: an app sends them as "headrace": '
                '{"columns": {...}} in the body; what it does not send counts as average',
                markup=False,
            )
        console.print(f'page {where}/headrace      OpenAI base_url {where}/v1, model "headrace"')
        served: object = app
        if workers > 1:
            os.environ[SETTINGS_VARIABLE] = str(targets.absolute())
            os.environ[ROUTER_VARIABLE] = str(settings.router)
            served = "headrace.gateway.serving:app_from_environment"
        uvicorn.run(
            served,
            factory=workers > 1,
            host=settings.host,
            port=free,
            workers=workers,
            log_level="warning",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=10,
        )
