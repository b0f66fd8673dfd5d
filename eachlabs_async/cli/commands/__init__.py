"""The commands, one module for each noun. `COMMANDS` lists them; a module is imported when its command runs."""

from __future__ import annotations

from typing import Final

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "executions": ("executions:app", "Executions of models: list, get, export, follow, sync."),
    "costs": ("costs:costs", "What executions cost, by model, day, status or workflow."),
    "workflows": ("workflows:app", "Workflows and their executions: list, show, executions, trigger, map, wait."),
    "predictions": ("predictions:app", "Predictions of models: run, get, map, cancel."),
    "flows": ("flows:app", "Executions of flows (legacy): get."),
    "runs": ("runs:app", "Runs of the other vendor's workflows: list, get, stop."),
    "models": ("models:app", "Models with their inputs and prices: list, show, schema."),
    "balance": ("balance:balance", "What is left on the account."),
    "files": ("files:app", "Files for models and from them: upload, download, delete."),
    "webhooks": ("webhooks:app", "Deliveries of webhooks: list, show."),
    "request": ("request:request", "Call any endpoint: request METHOD PATH."),
    "config": ("config:app", "Hosts, profiles, and which keys are set."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
}
"""The module and the object of each command, and what it is for."""

STANDALONE: Final[dict[str, str]] = {
    "demo": "Fetch thousands of rows from an emulator that misbehaves, and check every row.",
    "emulator": "Run the emulator, to try the client or your own code against it.",
}
"""The commands that need no extra."""
