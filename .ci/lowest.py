"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for dependency in project["dependencies"]:
    # A constraint has no extras: `cattrs[msgspec]>=24.1` becomes `cattrs==24.1`.
    name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", dependency).groups()
    print(f"{name}=={version}")
# What cattrs 24.1 asks of msgspec, and the first release for Python 3.13.
print('msgspec==0.18.5; python_version < "3.13"')
print('msgspec==0.19.0; python_version == "3.13"')
