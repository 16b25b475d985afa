"""Check an environment into which only the wheel was installed: its packages, and that the package works there."""

import sys
from importlib import metadata

EXPECTED = {"headrace", "numpy", "scipy", "threadpoolctl"}
TOOLS = {"pip", "setuptools", "wheel"}


def main() -> None:
    installed = {distribution.metadata["Name"].lower() for distribution in metadata.distributions()} - TOOLS
    if installed != EXPECTED:
        sys.exit(f"expected {sorted(EXPECTED)} in the bare environment, found {sorted(installed)}")

    import headrace as hr

    rule = hr.CascadeRouting(cost_weight=0.5)
    decision = rule.select([0.6, 0.7, 0.8], [0.01, 0.05, 0.3], variance=[0.09, 0.06, 0.04])
    print(decision)
    if decision.next != 0:
        sys.exit("expected model 0 to be next")

    extra = {"scipy", "sklearn", "matplotlib", "pyarrow", "typer", "jinja2"} & set(sys.modules)
    if extra:
        sys.exit(f"importing headrace imports {sorted(extra)}")

    from headrace.cli import main as command

    try:
        command()
    except SystemExit as stop:
        print(stop.code)
        if "headrace[cli]" not in str(stop.code):
            sys.exit("expected the command to say how to install it")


if __name__ == "__main__":
    main()
