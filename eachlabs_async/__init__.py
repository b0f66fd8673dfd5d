"""An async client for the Each Labs APIs: walk every listing, fetch in bulk, lose no row.

    from eachlabs_async import EachLabs

    async with EachLabs() as client:
        async for execution in client.executions.list(status="success", look_ahead=4):
            print(execution.id, execution.execution_cost)

A public name is imported when it is first used (PEP 562), so that importing the package does not import aiohttp. The
names are listed in the stub `__init__.pyi` alone, which type checkers read and this module reads too (SPEC 1).
"""

from __future__ import annotations

from importlib import import_module

from ._version import __version__ as __version__


def _read_stub() -> list[tuple[str, str]]:
    """Return the name and the module of each import in the stub."""
    # By the loader, because the package may be in a zip file. A frozen application has to include the stub as data, for
    # example with PyInstaller's `--collect-all eachlabs_async`.
    stub: bytes = __spec__.loader.get_data(f"{__path__[0]}/__init__.pyi")
    imports = [line.split() for line in stub.decode().splitlines() if line.startswith("from ")]
    return [(name, module if module != "." else f".{name}") for _, module, _, name, *_ in imports]


_IMPORTS = _read_stub()
_MODULES = {name: module for name, module in _IMPORTS if name != "*"}
_STARRED = [module for name, module in _IMPORTS if name == "*"]


def _is_submodule(name: str) -> bool:
    return _MODULES.get(name) == f".{name}"


def _public_names() -> list[str]:
    single = [name for name in _MODULES if not _is_submodule(name)]
    return single + [name for module in _STARRED for name in import_module(module, __name__).__all__]


def __getattr__(name: str) -> object:
    if name == "__all__":
        return _public_names()
    module = _MODULES.get(name)
    if module is None and not name.startswith("_"):
        module = next((starred for starred in _STARRED if name in import_module(starred, __name__).__all__), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = import_module(module, __name__)
    value = globals()[name] = found if _is_submodule(name) else getattr(found, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_public_names()})
