"""Does a selection help? A small LLM trained on it, and on others of the same size.

On a demo world whose pool was scored (`make demo`), LLMs are trained from scratch with
equal tokens and passes on documents that the filter selects, on random ones, on the
filter's reverse, and on a selection made from permuted errors; their error on the
target's held-out benchmarks is compared, paired by seed.

    python scripts/does_it_help.py --world demo_world --target astronomy --seeds 1 2 3 4 5
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.demo.comparison import (
    TRIAL_TOKENS,
    compare,
    draw_arms,
    lower_by,
    make_trial,
    pool_texts,
    scores_of,
)
from pcorr_assets.demo.world import POOL, SAMPLE, TOKEN_BUDGET, read_world
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.training import build_filter, find_filter
from pcorr_assets.steps.estimates import estimate_targets
from pcorr_assets.steps.sampling import sampling_distribution
from pcorr_assets.steps.verdicts import estimates_of
from pcorr_assets.warehouse import Warehouse

NEEDED = ("chunks", "bpb_matrix", "matrix_coverage", "llms", "error_vectors")


def permuted_scores(wh: Warehouse, settings: Settings, target: str, home: Path) -> dict[str, float]:
    """The same chain from the error vector to scores, with the errors dealt to other LLMs."""
    other = Warehouse(home)
    for table in NEEDED:
        shutil.copytree(wh.root / table, other.root / table)
    vector = wh.read("error_vectors", target)
    errors = np.random.default_rng(0).permutation(vector["error"].to_numpy())
    place = vector.schema.get_field_index("error")
    other.write("error_vectors", (target,), vector.set_column(place, "error", pa.array(errors)))
    failures: dict[str, PcorrError] = {}
    for found in estimate_targets(other, settings, SAMPLE, [target], failures):
        other.write("estimates", (SAMPLE, target), found.table, found.made_from)
    for error in failures.values():
        raise error
    found = sampling_distribution(other, settings, SAMPLE, target)
    other.write("sampling_distributions", (SAMPLE, target), found.table)
    selection, pool = settings.selection_for(target), settings.pools[POOL]
    estimates = estimates_of(other, SAMPLE, target, selection.estimator)
    build_filter(other, SAMPLE, target, selection, estimates=estimates)
    filters = {target: find_filter(other, SAMPLE, target)}
    for key in refresh_groups(other, POOL, pool).keys:
        score_group(other, read_group(other, key), pool, filters, tokenizer=selection.tokenizer)
    return scores_of(home, target)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--world", type=Path, default=Path("demo_world"))
    parser.add_argument("--target", default="astronomy")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    options = parser.parse_args()
    world = read_world(options.world)
    settings = load_settings(world.config_path)
    scores, tokens = scores_of(settings.home, options.target)
    with tempfile.TemporaryDirectory() as folder:
        permuted = permuted_scores(
            Warehouse(settings.home), settings, options.target, Path(folder) / "home"
        )
    arms = {seed: draw_arms(scores, tokens, TOKEN_BUDGET, seed, permuted) for seed in options.seeds}
    trial = make_trial(world, options.target, TRIAL_TOKENS)
    errors = compare(pool_texts(world), arms, trial)
    print(f"\n{options.target}: error on {', '.join(trial.benchmarks)}, seeds {options.seeds}")
    print("| documents | mean error | by seed | lower than random by |")
    print("|---|---:|---|---|")
    for arm, found in errors.items():
        by_seed = " ".join(f"{error:.3f}" for error in found)
        difference = ""
        if arm != "random" and len(found) > 1:
            lower = lower_by(errors, arm)
            difference = (
                f"{lower.mean:+.3f} (standard error {lower.standard_error:.3f}, "
                f"{lower.in_standard_errors:+.1f} of them)"
            )
        print(f"| {arm} | {np.mean(found):.3f} | {by_seed} | {difference} |")


if __name__ == "__main__":
    main()
