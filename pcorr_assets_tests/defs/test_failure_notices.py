"""A failed run is told of at a webhook, by a real receiver on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dagster as dg
import pytest

from pcorr_assets.config import Automation
from pcorr_assets.defs import failure_notices
from pcorr_assets.defs.failure_notices import MOST_CHARACTERS, failure_sensor, post, webhook
from pcorr_assets.errors import PcorrError

VARIABLE = "PCORR_TEST_WEBHOOK"
SECRET = "T000-secret"


@dataclass
class Receiver:
    """What came in; answers with `codes` in turn, then with 200."""

    address: str
    codes: list[int] = field(default_factory=list)
    bodies: list[dict[str, str]] = field(default_factory=list)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            found.bodies.append(json.loads(self.rfile.read(length)))
            code = found.codes.pop(0) if found.codes else 200
            self.send_response(code)
            if code == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setattr(failure_notices, "SECONDS_BEFORE_NEXT_ATTEMPT", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://127.0.0.1:{server.server_port}/{SECRET}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(VARIABLE, found.address)
        yield found
        server.shutdown()
        thread.join()


def failed_run(instance: dg.DagsterInstance, message: str) -> dg.RunFailureSensorContext:
    """The context of a real run of one asset that failed at one partition."""

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(["org/llm|web"]))
    def chunk_bpb() -> None:
        raise PcorrError(message)

    result = dg.materialize(
        [chunk_bpb], instance=instance, partition_key="org/llm|web", raise_on_error=False
    )
    return dg.build_run_status_sensor_context(
        sensor_name=failure_notices.SENSOR,
        dagster_event=result.get_run_failure_event(),
        dagster_instance=instance,
        dagster_run=result.dagster_run,
    ).for_run_failure()


def test_it_says_what_failed_where_and_why(receiver: Receiver) -> None:
    automation = Automation(failure_webhook_env=VARIABLE, ui_url="http://127.0.0.1:3000/")
    with dg.DagsterInstance.ephemeral() as instance:
        context = failed_run(instance, "the LLM has no\ntokenizer.json: download it again")
        failure_sensor(automation)(context)
        run_id = context.dagster_run.run_id
    (body,) = receiver.bodies
    assert body == {
        "text": "pcorr: chunk_bpb failed at org/llm|web: "
        "the LLM has no tokenizer.json: download it again "
        f"http://127.0.0.1:3000/runs/{run_id}"
    }


def test_a_long_reason_is_cut_and_the_run_is_still_named(receiver: Receiver) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        context = failed_run(instance, "x" * 5000)
        failure_sensor(Automation(failure_webhook_env=VARIABLE))(context)
    text = receiver.bodies[0]["text"]
    assert len(text) == MOST_CHARACTERS
    assert text.endswith(f"Run {context.dagster_run.run_id}.")


def test_what_passes_is_tried_again(receiver: Receiver) -> None:
    receiver.codes = [503, 429]
    post(receiver.address, {"text": "a"})
    assert len(receiver.bodies) == 3


@pytest.mark.parametrize(("code", "attempts"), [(503, 3), (404, 1), (302, 1)])
def test_what_is_not_taken_is_said_without_the_address(
    receiver: Receiver, code: int, attempts: int
) -> None:
    receiver.codes = [code] * 3
    with pytest.raises(PcorrError, match=f"did not take the message: it answered {code}") as raised:
        post(receiver.address, {"text": "a"})
    assert SECRET not in str(raised.value)
    assert len(receiver.bodies) == attempts


@pytest.mark.parametrize(
    "address", [f"http://example.org/{SECRET}", f"file:///{SECRET}", f"http://[{SECRET}", SECRET]
)
def test_an_unsafe_address_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv(VARIABLE, address)
    with pytest.raises(PcorrError, match=f"{VARIABLE} has to begin with https") as raised:
        webhook(VARIABLE)
    assert SECRET not in str(raised.value)


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(PcorrError, match=f"names {VARIABLE}, which is not set"):
        webhook(VARIABLE)


@pytest.mark.parametrize("value", ["https://hooks.example.org/x", "a b", "1A", 7])
def test_the_address_itself_does_not_belong_into_the_configuration(value: object) -> None:
    with pytest.raises(ValueError, match="name of an environment variable"):
        Automation.model_validate({"failure_webhook_env": value})


def test_without_a_webhook_it_says_so(receiver: Receiver) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        said = failure_sensor(Automation())(failed_run(instance, "x"))
    assert isinstance(said, dg.SkipReason)
    assert not receiver.bodies
