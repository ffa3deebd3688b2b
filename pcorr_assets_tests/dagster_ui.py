"""`dagster dev` as a subprocess of a test, and the API of its UI.

Belongs here: starting, stopping and asking it. Does not belong here: the world it serves.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pcorr_assets_tests.waiting import wait_for

PROJECT = Path(__file__).parents[1]

# Dagster does on SIGTERM what SIGINT does, and processes that a script started in the
# background ignore SIGINT, as do their children: without this they could not be stopped.
_WITH_INTERRUPTS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

_LAUNCH_BACKFILL = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""
_RUNS = """
query Runs { runsOrError { ... on Runs { results { runId status tags { key value } } } } }
"""
_TERMINATE = """
mutation Terminate($run: String!) { terminateRun(runId: $run) { __typename } }
"""

_START = """
mutation Start($sensor: SensorSelector!) {
  startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}
"""
_TICKS = """
query Ticks($sensor: SensorSelector!) {
  sensorOrError(sensorSelector: $sensor) {
    ... on Sensor { sensorState { ticks(limit: 20) { tickId status timestamp endTimestamp } } }
  }
}
"""

_OVER = ("SUCCESS", "FAILURE", "CANCELED")


def sensor_selector(name: str) -> dict[str, str]:
    """How the API names a sensor of the project."""
    return {
        "repositoryLocationName": "pcorr_assets.definitions",
        "repositoryName": "__repository__",
        "sensorName": name,
    }


class DagsterUI:
    """`dagster dev` on an instance of its own, and its GraphQL API."""

    def __init__(self, home: Path, config: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.home = home
        self._environment = {**os.environ, "DAGSTER_HOME": str(home), "PCORR_CONFIG": str(config)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", _WITH_INTERRUPTS, "-m", "dagster", "dev"]
        with (self.home / "dev.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-p", str(self.port), "-m", "pcorr_assets.definitions"],
                cwd=PROJECT,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_for("the UI", self._answers)

    def stop(self) -> None:
        """SIGTERM, as a restart of the machine's service sends it; runs go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=120)

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            reply = json.load(answer)
        assert not reply.get("errors"), reply["errors"]
        return reply["data"]

    def _answers(self) -> bool:
        try:
            return bool(self.ask("{ version }"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def backfill(self, asset: str, partitions: list[str]) -> str:
        """Launch one; returns its id, which its runs have as tag `dagster/backfill`."""
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": partitions}
        launched = self.ask(_LAUNCH_BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def start_sensor(self, name: str) -> None:
        started = self.ask(_START, sensor=sensor_selector(name))["startSensor"]
        assert started["__typename"] == "Sensor", started

    def ticks(self, name: str) -> list[dict[str, Any]]:
        """The last twenty ticks of a sensor that have ended, the newest first."""
        found = self.ask(_TICKS, sensor=sensor_selector(name))["sensorOrError"]["sensorState"]
        return [tick for tick in found["ticks"] if tick["endTimestamp"]]

    def terminate(self, run_id: str) -> None:
        self.ask(_TERMINATE, run=run_id)

    def runs(self, *backfills: str) -> list[dict[str, Any]]:
        """All runs, or only those of some backfills; `tags` as a dictionary."""
        runs = self.ask(_RUNS)["runsOrError"]["results"]
        for run in runs:
            run["tags"] = {tag["key"]: tag["value"] for tag in run["tags"]}
        if not backfills:
            return runs
        return [run for run in runs if run["tags"].get("dagster/backfill") in backfills]

    def ended(self, count: int, *backfills: str) -> bool:
        """Whether so many runs have ended: only those of some backfills, if any are given."""
        return sum(run["status"] in _OVER for run in self.runs(*backfills)) == count
