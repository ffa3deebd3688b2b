"""One LLM with a damaged file costs an error vector that LLM, not the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from pcorr_assets.config import settings_from
from pcorr_assets.errors import DamagedFileError
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.steps.error_vectors import target_error_vector
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.matrix.test_error_vector import error_row, errors_table

LLMS = ["f-a", "f-b", "g-c", "g-d"]


@pytest.mark.parametrize("table", ["benchmark_errors", "llms"])
def test_it_is_left_out_and_named(
    tmp_path: Path, make_llms: Callable[..., pa.Table], table: str
) -> None:
    settings = settings_from(
        {
            "home": str(tmp_path),
            "benchmarks": {"arc": {"metric": "acc"}},
            "targets": {"t": {"benchmarks": ["arc"]}},
        },
        folder=tmp_path,
    )
    present = benchmark_settings_sha256("arc", settings.benchmarks["arc"])
    wh = Warehouse(tmp_path)
    for number, llm in enumerate(LLMS):
        rows = errors_table([error_row(llm, "arc", number / 8, settings_sha256=present)])
        wh.write("benchmark_errors", (llm,), rows)
        wh.write("llms", (llm,), make_llms([llm]))
    path = wh.path(table, "f-b")
    content = bytearray(path.read_bytes())
    content[60] ^= 4
    path.write_bytes(content)
    vector = target_error_vector(wh, settings, "t", LLMS)
    assert vector.table["llm"].to_pylist() == ["f-a", "g-c", "g-d"]
    assert str(path) in vector.left_out["lm_eval"]["f-b"]
    assert any(str(path) in line for line in vector.report)
    for llm in LLMS:
        wh.path("benchmark_errors", llm).write_bytes(b"PAR1")
    with pytest.raises(DamagedFileError, match="materialise partition f-a of benchmark_errors"):
        target_error_vector(wh, settings, "t", LLMS)
