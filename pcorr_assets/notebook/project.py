"""A project as an analysis sees it: one `pcorr.yaml`, and the tables under its home.

Belongs here: reading them as data frames, arrays and figures. Does not belong here: computing
(`stats`), drawing (`report.plots`), and anything that writes. pandas and matplotlib are imported
on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.config.section import did_you_mean
from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.layout import read_matrix
from pcorr_assets.steps.inputs import read_inputs, source_of
from pcorr_assets.warehouse import TABLES, Warehouse, connect

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from pcorr_assets.stats.panel import Panel


def open_project(config: Path | str | None = None) -> Project:
    """The project of a configuration file; of PCORR_CONFIG or ./pcorr.yaml if none is named.

    Raises:
        PcorrError: there is no such file, or it has mistakes; all of them are listed.
    """
    return Project(load_settings(Path(config) if config is not None else find_config()))


class Project:
    """What a project's runs have made so far. Reads only; every call sees the newest state.

    Samples, targets and LLMs are named by their keys in `pcorr.yaml`. A name that is not in it,
    or a table that was not made yet, is a PcorrError that says so.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warehouse = Warehouse(settings.home, with_database=False)

    def __repr__(self) -> str:
        parts = (("samples", self.samples), ("targets", self.targets), ("pools", self.pools))
        named = "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in parts)
        return f"<project at {self.settings.home}; {named}; {len(self.llms)} LLMs>"

    @property
    def samples(self) -> list[str]:
        return list(self.settings.samples)

    @property
    def targets(self) -> list[str]:
        return list(self.settings.targets)

    @property
    def pools(self) -> list[str]:
        return list(self.settings.pools)

    @property
    def llms(self) -> list[str]:
        return list(self.settings.llm_specs)

    def table(self, name: str, *keys: str) -> pa.Table:
        """One partition of a table of the warehouse, or all of them if no keys are given."""
        _known(name, TABLES, "tables of the warehouse")
        return self.warehouse.read(name, *keys) if keys else self.warehouse.read_all(name)

    def sql(self, query: str, parameters: Sequence[Any] = ()) -> pd.DataFrame:
        """What DuckDB answers; a view for each table, `?` stands for a parameter."""
        with connect(self.settings.home) as connection:
            return connection.execute(query, parameters).df()

    def matrix(self, sample: str, level: str | None = None) -> pd.DataFrame:
        """Bits-per-byte (N LLMs, D units) of a sample, LLMs and units as labels.

        `level` is chunk, page or domain; by default that of `selection`, or the only one of an
        imported matrix.
        """
        import pandas as pd

        _known(sample, self.samples, "samples")
        if level is None:
            imported = self.settings.samples[sample].matrix_csv
            level = imported.level if imported else self.settings.selection.level
        view = read_matrix(self.warehouse, sample, level)
        units = pd.Index(view.units.to_pylist(), name=level)
        return pd.DataFrame(view.X, pd.Index(view.llms, name="llm"), units)

    def errors(self, target: str, sample: str | None = None) -> pd.Series:
        """The benchmark error of each LLM (N,) on a target, the best first.

        Errors that lm-eval measured; of an imported `sample`, those that came with it.
        """
        _known(target, self.targets, "targets")
        if sample is not None:
            _known(sample, self.samples, "samples")
        source = source_of(self.settings, sample) if sample else "lm_eval"
        rows = self.warehouse.read("error_vectors", target).filter(pc.field("source") == source)
        if not rows.num_rows:
            raise PcorrError(f"target {target}: there are no errors of {source}")
        return rows.to_pandas().set_index("llm")["error"].sort_values()

    def estimate(self, sample: str, target: str, estimator: str | None = None) -> pd.DataFrame:
        """The estimate of each unit (D rows), the best first, and what is known of it.

        By the estimator of `pcorr.yaml` if none is named. Where the sampling distribution is
        there too, its columns `weight`, `tau`, `token_count` and `included` stand beside it.
        """
        self._check(sample, target)
        estimator = estimator or self.settings.selection_for(target).estimator
        rows = self.warehouse.read("estimates", sample, target)
        chosen = rows.filter(pc.field("estimator") == estimator)
        if not chosen.num_rows:
            there = sorted(set(rows["estimator"].to_pylist()))
            raise PcorrError(
                f"{sample}|{target} has no estimates by {estimator!r}, only by {', '.join(there)}"
            )
        frame = chosen.drop_columns(["sample", "target", "level", "estimator"]).to_pandas()
        frame = frame.set_index("unit").sort_values("estimate", ascending=False, kind="stable")
        if not self.warehouse.exists("sampling_distributions", sample, target):
            return frame
        weights = self.warehouse.read("sampling_distributions", sample, target)
        kept = weights.select(["unit", "weight", "tau", "token_count", "included"]).to_pandas()
        return frame.join(kept.set_index("unit"))

    def verdict(self, sample: str, target: str) -> pd.Series:
        """The verdict on an estimate and all that it rests on (columns of `verdicts`)."""
        self._check(sample, target)
        return self.warehouse.read("verdicts", sample, target).to_pandas().iloc[0]

    def panel(self, sample: str, target: str, estimator: str | None = None) -> Panel:
        """Matrix, errors, caps and families of one target, as `stats` takes them.

        The caps are those of the sampling distribution, which must be there.
        """
        self._check(sample, target)
        failures: dict[str, PcorrError] = {}
        found = list(read_inputs(self.warehouse, self.settings, sample, [target], failures))
        if failures:
            raise failures[target]
        (inputs,) = found
        rows = self.warehouse.read("sampling_distributions", sample, target)
        tau = dict(zip(rows["unit"].to_pylist(), rows["tau"].to_pylist(), strict=True))
        units = inputs.units.to_pylist()
        if missing := [unit for unit in units if unit not in tau]:
            raise PcorrError(
                f"the sampling distribution of {sample}|{target} lacks {len(missing)} units of the "
                f"matrix, {missing[0]!r} for one. Materialise estimate and sampling_distribution."
            )
        estimator = estimator or self.settings.selection_for(target).estimator
        return inputs.panel(target, np.array([tau[unit] for unit in units]), estimator)

    def plot_estimates(self, sample: str, target: str) -> Figure:
        """Histogram of the estimates, those of selected units in a second colour."""
        from pcorr_assets.report.plots import estimate_histogram

        frame = self.estimate(sample, target)
        included = frame["included"].to_numpy(bool) if "included" in frame else None
        return estimate_histogram(
            frame["estimate"].to_numpy(), included, f"{sample}: estimates for {target}"
        )

    def plot_gain(self, sample: str, target: str) -> Figure:
        """The gain over random texts with its 90 % interval, beside what costs nothing to find."""
        from pcorr_assets.report.plots import gains

        self._check(sample, target)
        (row,) = self.warehouse.read("verdicts", sample, target).to_pylist()
        names = {
            "this selection": "gain",
            "lowest mean BPB": "gain_mean_bpb",
            "easiest for the best LLM": "gain_strongest_llm",
        }
        needed = ["gain_low", "gain_high", "gain_needed", *names.values()]
        if any(row[name] is None for name in needed):
            raise PcorrError(f"{sample}|{target} has no gain: {row['reason']}")
        return gains(
            list(names),
            np.array([row[name] for name in names.values()]),
            (row["gain_low"], row["gain_high"]),
            row["gain_needed"],
            f"{sample}: {row['verdict']} for {target}",
        )

    def plot_ranks(self, sample: str, target: str, scheme: str = "family") -> Figure:
        """Predicted against actual ranks of held-out LLMs, by family or `random` folds."""
        from pcorr_assets.report.plots import rank_plot

        self._check(sample, target)
        rows = self.warehouse.read("rank_predictions", sample, target)
        kept = rows.filter((pc.field("scheme") == scheme) & (pc.field("predictor") == "estimate"))
        if not kept.num_rows:
            there = sorted(set(rows["scheme"].to_pylist()))
            raise PcorrError(
                f"{sample}|{target} has no ranks by scheme {scheme!r}, only {', '.join(there)}"
            )
        return rank_plot(
            kept["predicted_rank"].to_numpy(),
            kept["actual_rank"].to_numpy(),
            kept["family"].to_pylist(),
            f"{sample}: held-out ranks for {target}",
        )

    def _check(self, sample: str, target: str) -> None:
        _known(sample, self.samples, "samples")
        _known(target, self.targets, "targets")


def _known(name: str, there: Iterable[str], what: str) -> None:
    names = list(there)
    if name not in names:
        raise PcorrError(f"{name!r} is none of the {what}; {did_you_mean(name, names, what)}")
