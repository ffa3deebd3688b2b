"""Tells somebody that a run failed: a sensor that posts a line to a webhook.

Belongs here: the line, posting it, and the sensor, off until somebody switches it on. Does
not belong here: what failed and stays failed (`operations`, the check of all partitions).

The address of a webhook is a secret, for whoever has it can post. It comes from the
environment, and stands in no table, log or message.
"""

from __future__ import annotations

import ipaddress
import json
import os
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import dagster as dg

from pcorr_assets.config import Automation
from pcorr_assets.errors import PcorrError

SENSOR = "tell_of_failures"
SECONDS_BETWEEN_TICKS = 30
ATTEMPTS = 3
SECONDS_TO_ANSWER = 10.0
SECONDS_BEFORE_NEXT_ATTEMPT = 2.0
# A message in a chat is read at a glance; the run has the rest.
MOST_CHARACTERS = 600


def failure_sensor(automation: Automation) -> dg.SensorDefinition:
    """A message for each run that failed, as JSON that Slack and its like take.

    A cancelled run is no failure, and a launch that never became a run has none.
    """

    @dg.run_failure_sensor(
        name=SENSOR,
        description="Posts a line about each failed run to the webhook whose address the "
        "environment variable of automation.failure_webhook_env holds; see docs/automation.md.",
        default_status=dg.DefaultSensorStatus.STOPPED,
        minimum_interval_seconds=SECONDS_BETWEEN_TICKS,
    )
    def sensor(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        if automation.failure_webhook_env is None:
            return dg.SkipReason("automation.failure_webhook_env is not set in pcorr.yaml")
        address = webhook(automation.failure_webhook_env)
        post(address, {"text": failure_text(context, automation.ui_url)})
        return None

    return sensor


def failure_text(context: dg.RunFailureSensorContext, ui_url: str | None = None) -> str:
    """What failed, at which partition, and why, in one line; with a link where there is a UI."""
    run = context.dagster_run
    steps = [event.step_key for event in context.get_step_failure_events() if event.step_key]
    what = ", ".join(steps) or run.job_name
    first, last = (run.tags.get(f"dagster/asset_partition_range_{end}") for end in ("start", "end"))
    partition = run.tags.get("dagster/partition") or (f"{first} to {last}" if first else "")
    where = f" at {partition}" if partition else ""
    link = f" {ui_url}/runs/{run.run_id}" if ui_url else f" Run {run.run_id}."
    text = f"pcorr: {what} failed{where}: {_reason(context)}"
    return text[: MOST_CHARACTERS - len(link)] + link


def _reason(context: dg.RunFailureSensorContext) -> str:
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None:
            # The first cause is the platform's own sentence; Dagster wraps it in its own.
            innermost = error
            while innermost.cause is not None:
                innermost = innermost.cause
            name, _, message = innermost.message.partition(": ")
            said = message if name.endswith(PcorrError.__name__) else innermost.message
            return " ".join(said.split())
    return " ".join((context.failure_event.message or "no reason is known").split())


def webhook(variable: str) -> str:
    """The address in an environment variable.

    Raises PcorrError, without the address, if it is not set, or neither `https` nor on this
    machine.
    """
    address = os.environ.get(variable, "").strip()
    if not address:
        raise PcorrError(
            f"automation.failure_webhook_env names {variable}, which is not set in the "
            "environment of the code location: set it to the webhook's address, and restart"
        )
    try:
        parts = urlsplit(address)
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and _is_here(parts.hostname))
    except ValueError:
        is_safe = False
    if not is_safe:
        raise PcorrError(f"the address in {variable} has to begin with https://")
    return address


def _is_here(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def post(address: str, content: dict[str, str]) -> None:
    """Send JSON, up to three times; a redirect is not followed to somewhere else.

    Raises:
        PcorrError: it was not taken. The address is not in the message.
    """
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(content).encode(), headers)
    opener = urllib.request.build_opener(_NoRedirect)
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(SECONDS_BEFORE_NEXT_ATTEMPT * attempt)
        try:
            with opener.open(request, timeout=SECONDS_TO_ANSWER):
                return
        except urllib.error.HTTPError as error:
            reason = f"it answered {error.code}"
            if error.code < 500 and error.code != 429:
                break
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = f"it cannot be reached ({type(getattr(error, 'reason', error)).__name__})"
    raise PcorrError(f"the webhook did not take the message: {reason}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: object, fp: object, code: object, msg: object, headers: object, newurl: object
    ) -> None:
        return None
