"""Check that every public name says its type: basedpyright's report on the installed package.

What takes its type from packages that aren't here (LangChain's and litellm's base classes) is left out.

    .venv-types/bin/python scripts/check_types.py .venv/bin/python
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

#: Modules whose base classes come from elsewhere.
ELSEWHERE = ("headrace.integrations.",)


def main() -> int:
    """Print the names without a type; 1 if there is one, or if no name was found."""
    program = Path(sys.executable).with_name("basedpyright")
    command = [program, "--verifytypes", "headrace", "--ignoreexternal", "--outputjson"]
    # It looks for the package where the first python on the path does; --pythonpath is for its other uses.
    path = os.pathsep.join([str(Path(sys.argv[1]).parent.absolute()), os.environ["PATH"]])
    told = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
    report = json.loads(told.stdout)
    found = report["typeCompleteness"]
    lacking = [
        symbol
        for symbol in found["symbols"]
        if symbol["isExported"]
        and (symbol["isTypeAmbiguous"] or not symbol["isTypeKnown"])
        and not symbol["name"].startswith(ELSEWHERE)
    ]
    for symbol in lacking:
        why = symbol["diagnostics"][0]["message"].splitlines()[0] if symbol["diagnostics"] else "of partly unknown type"
        print(f"{symbol['name']}: {why}")
    counts = found["exportedSymbolCounts"]
    print(f"{sum(counts.values())} public names, {len(lacking)} without a type")
    return bool(lacking) or not sum(counts.values())


if __name__ == "__main__":
    raise SystemExit(main())
