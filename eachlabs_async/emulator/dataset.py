"""The seeded rows of all services, and the limits on reading them.

The same arguments and the same `now` give the same bytes. Each collection is built when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import count
from random import Random
from typing import Any, Literal, TypedDict

from . import catalogue, rows
from .collection import Collection, Grouped, Row
from .rows import OutcomeMix, seeded_id
from .timeline import Timeline

__all__ = ["DatasetOptions", "Dataset"]

_BULK = 10


def _workflow_executions(make: Callable[[datetime], Row], made: Iterable[Row] = ()) -> Collection:
    return Collection(
        "execution_id", make, made, listed=rows.workflow_execution_listed, full=rows.workflow_execution_full
    )


def _flow_executions(make: Callable[[datetime], Row], made: Iterable[Row] = ()) -> Collection:
    return Collection("execution_id", make, made)


class DatasetOptions(TypedDict, total=False):
    """Keywords of `Emulator` about rows and reading them; they are explained there."""

    workflow_executions: int | None
    flow_executions: int | None
    runs: int | None
    workflows: int
    models: int
    unfinished: float
    failed: float
    cancelled: float
    span_days: float
    now: datetime | None
    hold_unfinished: float
    max_bulk_ids: int | None
    bulk_refusal: int
    v1_depth: int | None
    v1_executions: bool
    v2_executions: bool
    v2_auth: Literal["any", "bearer"]
    cursor_lifetime: float | None


class Dataset:
    """The rows of all services, and the limits on reading them. The arguments are explained by `Emulator`."""

    def __init__(
        self,
        executions: int = 1000,
        seed: int = 1,
        *,
        workflow_executions: int | None = None,
        flow_executions: int | None = None,
        runs: int | None = None,
        workflows: int = 3,
        models: int = 60,
        unfinished: float = 0.05,
        failed: float = 0.1,
        cancelled: float = 0.02,
        span_days: float = 60.0,
        now: datetime | None = None,
        hold_unfinished: float = 0.0,
        max_bulk_ids: int | None = None,
        bulk_refusal: int = 413,
        v1_depth: int | None = 1000,
        v1_executions: bool = True,
        v2_executions: bool = True,
        v2_auth: Literal["any", "bearer"] = "any",
        cursor_lifetime: float | None = None,
    ) -> None:
        def counted(amount: int | None) -> int:
            return executions if amount is None else amount

        self._counts = {
            "executions": executions,
            "workflow_executions": counted(workflow_executions),
            "flow_executions": counted(flow_executions),
            "runs": counted(runs),
        }
        if min(*self._counts.values(), models) < 0 or workflows < 1:
            raise ValueError("counts of rows must be at least 0, and workflows at least 1")
        if now is not None and now.tzinfo is None:
            raise ValueError("now must be an aware datetime")
        if v1_depth is not None and v1_depth < 1:
            raise ValueError(f"v1_depth must be at least 1, or None, not {v1_depth}")
        if cursor_lifetime is not None and cursor_lifetime <= 0:
            raise ValueError(f"cursor_lifetime must be over 0 seconds, or None, not {cursor_lifetime}")
        if v2_auth not in ("any", "bearer"):
            raise ValueError(f"v2_auth must be 'any' or 'bearer', not {v2_auth!r}")
        self.seed = seed
        self.now = now or datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        self.hold_unfinished = hold_unfinished
        self.max_bulk_ids = max_bulk_ids
        self.bulk_refusal = bulk_refusal
        self.v1_depth = v1_depth
        self.v1_executions = v1_executions
        self.v2_executions = v2_executions
        self.v2_auth = v2_auth
        self.cursor_lifetime = cursor_lifetime
        self.poisoned_ids: dict[str, int] = {}
        self.balance_usd = 12.5
        self.fallbacks_enabled = True
        self._span = timedelta(days=span_days)
        self._mix = OutcomeMix(unfinished=unfinished, failed=failed, cancelled=cancelled)
        self._workflows: list[Row] = [
            {
                "id": seeded_id(seed, "workflow", number),
                "slug": f"workflow-{number + 1}",
                "name": f"Workflow {number + 1}",
                "group_id": seeded_id(seed, "group", 0),
            }
            for number in range(workflows)
        ]
        # Rows are distributed over the seeded workflows only, whatever is created later.
        self._seeded_workflows = tuple(self._workflows)
        self._models = models

    @property
    def workflow_ids(self) -> list[str]:
        """The ids of the workflows: the seeded ones, which share the seeded rows, and then the created ones."""
        return [workflow["id"] for workflow in self._workflows]

    def bulk_ids(self, workflow_id: str) -> dict[str, list[str]]:
        """Return the bulk triggers of a workflow: the execution ids, newest first, by bulk id."""
        found: dict[str, list[str]] = {}
        for row in self.workflow_executions[workflow_id].select():
            if "bulk_id" in row:
                found.setdefault(row["bulk_id"], []).append(row["execution_id"])
        return found

    @property
    def workflow_slugs(self) -> list[str]:
        """The slugs of the workflows, in the order of `workflow_ids`."""
        return [workflow["slug"] for workflow in self._workflows]

    def workflow_id_of(self, id_or_slug: str) -> str | None:
        """Return the id of the workflow with this id or slug, or None."""
        for workflow in self._workflows:
            if id_or_slug in (workflow["id"], workflow["slug"]):
                found: str = workflow["id"]
                return found
        return None

    @cached_property
    def workflows(self) -> Collection:
        """The workflows with their versions. The first one is public; each has a version `v1`."""
        made = [
            catalogue.workflow_row(
                workflow["id"],
                workflow["slug"],
                workflow["name"],
                {"version": "v1", "steps": catalogue.default_steps()},
                self.now - timedelta(days=90 + number),
                public=number == 0,
            )
            for number, workflow in enumerate(self._seeded_workflows)
        ]
        return Collection("workflow_id", self._not_insertable, made, listed=catalogue.workflow_listed)

    @cached_property
    def models(self) -> Collection:
        """The models, in the order of the listing."""
        return Collection("slug", self._not_insertable, catalogue.model_rows(self._models))

    def add_workflow(self, row: Row) -> None:
        """Add a created workflow, with empty collections of executions."""
        workflow_id = row["workflow_id"]
        self._workflows.append({"id": workflow_id, "slug": row["slug"], "name": row["name"], "group_id": ""})
        self.workflow_executions.add_group(workflow_id, _workflow_executions(self._not_insertable))
        self.flow_executions.add_group(workflow_id, _flow_executions(self._not_insertable))
        self.workflows.add(row)

    def rename_workflow(self, workflow_id: str, name: str, slug: str, **more: Any) -> None:
        """Rename a workflow. The old slug is dropped, and the versions get the new one."""
        for workflow in self._workflows:
            if workflow["id"] == workflow_id:
                workflow.update(name=name, slug=slug)
        versions = [{**version, "slug": slug} for version in self.workflows.get(workflow_id)["versions"]]
        self.workflows.change(workflow_id, name=name, slug=slug, versions=versions, **more)

    @staticmethod
    def _not_insertable(created: datetime) -> Row:
        raise TypeError("these rows are made by requests, not by insert()")

    @cached_property
    def executions(self) -> Timeline:
        """The executions of the organisation. Two in three belong to a workflow execution."""
        source = self._source("executions")
        numbers = count()
        parents = self._counts["workflow_executions"]

        def make(created: datetime) -> Row:
            number = next(numbers)
            workflow = None
            if parents and number % 3:
                parent = number % parents
                workflow = (
                    self._seeded_workflows[parent % len(self._seeded_workflows)]["id"],
                    seeded_id(self.seed, "workflow_executions", parent),
                )
            return rows.execution_row(source, self._mix, seeded_id(self.seed, "executions", number), created, workflow)

        return Timeline("id", make, map(make, self._times("executions", source)))

    @cached_property
    def workflow_executions(self) -> Grouped:
        """The executions of each workflow. Of every thirty, ten consecutive ones came from one bulk trigger."""
        source = self._source("workflow_executions")
        numbers = count()

        def maker(workflow: Row) -> Callable[[datetime], Row]:
            def make(created: datetime) -> Row:
                number = next(numbers)
                batch = number // (_BULK * len(self._seeded_workflows))
                # A bulk trigger belongs to one workflow, so its id depends on the workflow.
                bulk_id = seeded_id(self.seed, f"bulk/{workflow['id']}", batch) if batch % 3 == 0 else None
                row_id = seeded_id(self.seed, "workflow_executions", number)
                return rows.workflow_execution_row(source, self._mix, row_id, created, workflow, bulk_id)

            return make

        return self._grouped("workflow_executions", source, maker, _workflow_executions)

    @cached_property
    def flow_executions(self) -> Grouped:
        """The executions of each workflow in the legacy flows service."""
        source = self._source("flow_executions")
        numbers = count()

        def maker(workflow: Row) -> Callable[[datetime], Row]:
            def make(created: datetime) -> Row:
                row_id = seeded_id(self.seed, "flow_executions", next(numbers))
                return rows.flow_execution_row(source, self._mix, row_id, created, workflow)

            return make

        return self._grouped("flow_executions", source, maker, _flow_executions)

    @cached_property
    def runs(self) -> Collection:
        """The runs of the other vendor (Noxus)."""
        source = self._source("runs")
        numbers = count()

        def make(created: datetime) -> Row:
            number = next(numbers)
            workflow = self._seeded_workflows[number % len(self._seeded_workflows)]
            return rows.run_row(source, self._mix, seeded_id(self.seed, "runs", number), created, workflow)

        return Collection("id", make, map(make, self._times("runs", source)))

    def warm(self) -> None:
        """Build and encode all rows now, so that no request includes that time."""
        for collection in (self.executions, self.workflow_executions, self.flow_executions, self.runs):
            collection.warm()

    def _source(self, kind: str) -> Random:
        return Random(f"{self.seed}/{kind}")

    def _times(self, kind: str, source: Random) -> Iterator[datetime]:
        # Newest first, one row in each equal part of the span, with times in whole milliseconds.
        amount = self._counts[kind]
        for number in range(amount):
            share = (number + source.random()) / amount
            yield self.now - timedelta(milliseconds=int(share * self._span / timedelta(milliseconds=1)))

    def _grouped(
        self,
        kind: str,
        source: Random,
        maker: Callable[[Row], Callable[[datetime], Row]],
        collection: Callable[[Callable[[datetime], Row], list[Row]], Collection],
    ) -> Grouped:
        # Rows are made in the order of their numbers, so that a number determines the workflow of an id.
        makers = {workflow["id"]: maker(workflow) for workflow in self._seeded_workflows}
        ids = list(makers)
        made: dict[str, list[Row]] = {workflow_id: [] for workflow_id in ids}
        for number, time in enumerate(self._times(kind, source)):
            workflow_id = ids[number % len(ids)]
            made[workflow_id].append(makers[workflow_id](time))
        return Grouped({workflow_id: collection(makers[workflow_id], made[workflow_id]) for workflow_id in ids})
