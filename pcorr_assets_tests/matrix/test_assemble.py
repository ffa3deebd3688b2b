"""The matrix of a text sample against a recomputation with pandas, and who is left out."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix import assemble, read_matrix

MakeWorld = Callable[..., Any]
NAN = math.nan


def brute_force(world: Any, llms: list[str], limit: float) -> pd.DataFrame:
    """The design's definitions, row by row, on one long table."""
    losses = pd.DataFrame({llm: world.losses[llm] for llm in llms})
    kept = [llm for llm in llms if np.isnan(world.losses[llm]).mean() <= limit]
    survives = ~losses[kept].isna().any(axis=1)
    rows = []
    for llm in kept:
        for level, units in (
            ("chunk", world.chunk_ids),
            ("domain", world.domains),
            ("page", world.page_ids),
        ):
            chunks = pd.DataFrame(
                {
                    "unit": units,
                    "nats": world.token_counts[llm] * losses[llm],
                    "bytes": world.byte_counts,
                }
            )[survives]
            for unit, own in chunks.groupby("unit", dropna=True):
                bpb = own["nats"].sum() / own["bytes"].sum() / math.log(2)
                rows.append((level, llm, unit, bpb, own["bytes"].sum()))
    frame = pd.DataFrame(rows, columns=["level", "llm", "unit", "bpb", "byte_count"])
    return frame.sort_values(["level", "llm", "unit"]).reset_index(drop=True)


def random_world(make_world: MakeWorld, seed: int, **options: Any) -> tuple[Any, list[str]]:
    rng = np.random.default_rng(seed)
    size = 40
    pages = [f"p{i // 3}" for i in rng.permutation(size)]
    domains = [None if page == "p2" else f"d{int(page[1:]) % 4}" for page in pages]
    counts = rng.integers(1, 200, size).tolist()
    world = make_world(pages, domains, counts, **options)
    llms = ["z-last", "b-first@step10", "m/mid", "b-first@step2"]
    for llm in llms:
        loss = rng.gamma(2, 1, size)
        loss[rng.random(size) < 0.08] = NAN
        world.score(llm, loss, rng.integers(0, 50, size))
    return world, llms


@pytest.mark.parametrize(("seed", "limit"), [(0, 1.0), (1, 0.1), (2, 0.05)])
def test_all_levels_equal_the_definitions(make_world: MakeWorld, seed: int, limit: float) -> None:
    world, llms = random_world(make_world, seed)
    expected = brute_force(world, llms, limit)
    assembled = assemble(world.wh, "web", llms, limit)
    assembled.write()
    rows = world.wh.read("bpb_matrix", "web").to_pandas()
    # Equal order too: by level, LLM and unit.
    assert rows[["level", "llm", "unit"]].equals(expected[["level", "llm", "unit"]].astype(str))
    np.testing.assert_allclose(rows["bpb"], expected["bpb"], rtol=1e-12)
    assert rows["byte_count"].tolist() == expected["byte_count"].tolist()
    for level, own in expected.groupby("level"):
        view = read_matrix(world.wh, "web", str(level))
        wide = own.pivot(index="llm", columns="unit", values="bpb").sort_index()
        assert view.llms == wide.index.tolist() == assembled.llms
        assert view.units.to_pylist() == wide.columns.tolist()
        assert view.X.dtype == np.float64
        np.testing.assert_allclose(view.X, wide.to_numpy(), rtol=1e-12)
        assert view.byte_count is not None
        assert view.byte_count.sum() == own["byte_count"].sum() // len(wide)


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_small_world_equals_the_definitions(make_world: MakeWorld, data: Any) -> None:
    size = data.draw(st.integers(1, 8))

    def draw(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(values, min_size=size, max_size=size))

    world = make_world(draw(st.sampled_from(["a", "b", "ä"])), None, draw(st.integers(1, 99)))
    for llm in ("x", "y"):
        world.score(llm, draw(st.sampled_from([0.0, 1.5, 1e-9, NAN])), draw(st.integers(0, 9)))
    world.score("sound", np.ones(size))
    llms = ["x", "y", "sound"]
    expected = brute_force(world, llms, 0.5)
    if expected.empty:
        with pytest.raises(PcorrError, match="No chunk is left"):
            assemble(world.wh, "web", llms, 0.5)
        return
    assemble(world.wh, "web", llms, 0.5).write()
    rows = world.wh.read("bpb_matrix", "web").to_pandas()
    assert rows["unit"].tolist() == expected["unit"].tolist()
    np.testing.assert_allclose(rows["bpb"], expected["bpb"], rtol=1e-12, atol=1e-300)


def test_a_row_group_for_each_level_and_llm(make_world: MakeWorld) -> None:
    world, llms = random_world(make_world, 3)
    assembled = assemble(world.wh, "web", llms, 1.0)
    written = assembled.write()["bpb_matrix"]
    with pq.ParquetFile(written.path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    assert sizes == [
        count
        for level in ("chunk", "domain", "page")
        for count in [assembled.unit_counts[level]] * 4
    ]
    assert world.wh.metadata("bpb_matrix", "web")["chunks_sha256"] == world.chunks_sha256
    # From its first writing on: a run that is killed leaves no coverage of an unknown matrix.
    noted = world.wh.metadata("matrix_coverage", "web")
    assert noted["bpb_matrix_sha256"] == written.sha256


def test_chunks_that_are_not_those_noted_are_refused(make_world: MakeWorld) -> None:
    world, llms = random_world(make_world, 3)
    rows = world.wh.read("chunks", "web")
    # What is seen if the sample is chunked anew between the two looks at its file.
    noted = {"chunks_sha256": world.chunks_sha256}
    world.wh.write("chunks", ("web",), rows.take(list(range(len(rows)))[::-1]), noted)
    with pytest.raises(PcorrError, match=r"'web' are not those .* Launch this again"):
        assemble(world.wh, "web", llms, 1.0)


def test_the_order_in_which_llms_are_registered_does_not_matter(make_world: MakeWorld) -> None:
    world, llms = random_world(make_world, 4)
    first = assemble(world.wh, "web", llms, 0.1).write()
    again = assemble(world.wh, "web", llms[::-1], 0.1).write()
    assert {t: w.sha256 for t, w in first.items()} == {t: w.sha256 for t, w in again.items()}


def test_without_domains_there_is_no_domain_level(make_world: MakeWorld) -> None:
    world = make_world(["a", "a", "b"])
    world.score("m", [1.0, 2.0, 3.0])
    assembled = assemble(world.wh, "web", ["m"], 0.05)
    assembled.write()
    assert list(assembled.unit_counts) == ["chunk", "page"]
    with pytest.raises(PcorrError, match="no level 'domain', only chunk, page"):
        read_matrix(world.wh, "web", "domain")


def coverage(assembled: Any) -> dict[str, tuple[bool, int | None, int | None, str]]:
    return {
        row["llm"]: (row["included"], row["chunk_count"], row["nan_count"], row["reason"] or "")
        for row in assembled.coverage.to_pylist()
    }


def spoil_losses(world: Any, llm: str, losses: list[float]) -> None:
    """Put losses into a file that the warehouse would refuse to write."""
    path = world.wh.path("chunk_bpb", llm, world.sample)
    noted = world.wh.metadata("chunk_bpb", llm, world.sample)
    rows = pq.read_table(path).replace_schema_metadata(noted)
    position = rows.schema.get_field_index("loss")
    pq.write_table(rows.set_column(position, rows.schema.field(position), [losses]), path)


def test_every_llm_has_a_row_in_the_coverage(make_world: MakeWorld) -> None:
    world = make_world(["a", "a", "b", "b"])
    world.score("good", [1, 2, 3, 4])
    world.score("gaps", [NAN, NAN, NAN, 4])
    world.score("gone", [1, 2, 3, 4])
    world.score("short", [1, 2, 3])
    world.score("stale", [1, 2, 3, 4], chunks_sha256="chunking-zero")
    world.score("hurt", [1, 2, 3, 4])
    spoil_losses(world, "hurt", [1, -2, 3, math.inf])
    world.score("broken", [1, 2, 3, 4])
    world.wh.path("chunk_bpb", "broken", world.sample).write_bytes(b"half of a fi")
    world.score("rotten", [1, 2, 3, 4])
    rotten = world.wh.path("chunk_bpb", "rotten", world.sample)
    content = bytearray(rotten.read_bytes())
    content[100] ^= 1
    rotten.write_bytes(content)
    llms = ["good", "gaps", "short", "stale", "hurt", "late", "", "broken", "rotten"]
    assembled = assemble(world.wh, "web", llms, 0.5)
    found = coverage(assembled)
    assert assembled.llms == ["good"]
    assert found["good"] == (True, 4, 0, "")
    assert found["gaps"][:3] == (False, 4, 3)
    assert found["late"] == (False, None, None, "not materialised yet")
    assert found["gone"] == (False, None, None, "removed")
    assert found[""][3].startswith("it cannot be the key of an LLM")
    for llm, words in {
        "gaps": "3 of 4 chunks are NaN",
        "short": "3 rows, the sample 4 chunks",
        "stale": r"another chunking of the sample \(chunking-zer",
        "broken": "is damaged",
        "rotten": r"is damaged .*materialise partition rotten\|web of chunk_bpb again",
        "hurt": "2 of its 4 losses are negative or infinite",
    }.items():
        assert not found[llm][0]
        assert re.search(words, found[llm][3])
        assert any(line.startswith(llm) for line in assembled.report)
    assembled.write()
    assert world.wh.read("matrix_coverage", "web").equals(assembled.coverage)


@pytest.mark.parametrize("noted", [{"commit_sha": "c2"}, {"dtype": "bfloat16"}])
def test_losses_of_another_commit_or_dtype_are_not_mixed_in(
    make_world: MakeWorld, noted: dict[str, str]
) -> None:
    world = make_world(["a", "b"])
    world.score("sound", [1, 2])
    world.score("mixed", [1, 2], **noted)
    assembled = assemble(world.wh, "web", ["sound", "mixed"], 0.05)
    assert assembled.llms == ["sound"]
    (name,) = noted
    assert (
        f"its losses are from {name} {noted[name]}, but llms has" in coverage(assembled)["mixed"][3]
    )


def test_lost_bytes_are_flagged_and_lost_units_have_no_row(make_world: MakeWorld) -> None:
    pages = ["whole", "dented", "dented", "fifth", "fifth", "lost"]
    world = make_world(pages, ["d1", "d1", "d1", "d2", "d2", "d3"], [10, 79, 21, 80, 20, 10])
    world.score("a", [1, 1, NAN, 1, NAN, NAN])
    world.score("b", [1, 1, 1, 1, 1, 1])
    assembled = assemble(world.wh, "web", ["a", "b"], 0.5)
    assembled.write()
    assert assembled.flagged == {"chunk": [], "domain": [], "page": ["dented"]}
    view = read_matrix(world.wh, "web", "page")
    assert view.units.to_pylist() == ["dented", "fifth", "whole"]
    assert view.byte_count is not None
    assert view.byte_count.tolist() == [79, 80, 10]
    report = " ".join(assembled.report)
    assert "3 chunks of 6 left the matrix for all LLMs" in report
    assert "1 page without a chunk left, and so without a BPB: lost" in report
    assert "1 domain without a chunk left, and so without a BPB: d3" in report
    assert "1 page lost more than 20%" in report


def test_nobody_to_build_from_is_an_error_that_names_everybody(make_world: MakeWorld) -> None:
    world = make_world(["a", "b"])
    with pytest.raises(PcorrError, match="No LLM is registered"):
        assemble(world.wh, "web", [], 0.05)
    world.score("old", [1, 2])
    with pytest.raises(PcorrError, match=r"(?s)late: not materialised yet.*old: removed"):
        assemble(world.wh, "web", ["late"], 0.05)
    world.score("old", [NAN, NAN])
    with pytest.raises(PcorrError, match="No LLM is left"):
        assemble(world.wh, "web", ["old"], 0.05)


def test_missing_chunks_or_matrix_are_named(make_world: MakeWorld) -> None:
    world = make_world(["a", "b"])
    with pytest.raises(PcorrError, match="other"):
        assemble(world.wh, "other", ["m"], 0.05)
    with pytest.raises(PcorrError, match="bpb_matrix"):
        read_matrix(world.wh, "web", "page")


def test_a_file_replaced_while_the_matrix_is_written_stops_it(make_world: MakeWorld) -> None:
    world = make_world(["a", "b"])
    world.score("m", [1, 2])
    before = assemble(world.wh, "web", ["m"], 0.05).write()
    assembled = assemble(world.wh, "web", ["m"], 0.05)
    world.score("m", [NAN, 2])
    with pytest.raises(PcorrError, match="was replaced while"):
        assembled.write()
    # The old matrix stays whole.
    assert os.path.getsize(before["bpb_matrix"].path) == before["bpb_matrix"].byte_count
    assert read_matrix(world.wh, "web", "page").X.shape == (1, 2)


def test_a_matrix_in_another_order_is_not_read_as_one(make_world: MakeWorld) -> None:
    world, llms = random_world(make_world, 5)
    assemble(world.wh, "web", llms, 1.0).write()
    rows = world.wh.read("bpb_matrix", "web")
    world.wh.write("bpb_matrix", ("web",), rows)
    with pytest.raises(PcorrError, match="not ordered by level, llm and unit"):
        read_matrix(world.wh, "web", "page")
