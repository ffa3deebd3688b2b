"""What the demo prints: verdicts, best domains, and how much lies on the target's topic.

Belongs here: reading the tables through DuckDB, as a user would, and putting the answer
beside the truth about the world. Does not belong here: anything the platform needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pcorr_assets.config import Settings
from pcorr_assets.demo.world import POOL, SAMPLE, World, pool_topic_weight, topic_weight
from pcorr_assets.warehouse import connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TOP_DOMAINS = 5

TOP = """
SELECT e.unit, e.estimate, e.selection_frequency, d.weight
FROM estimates e JOIN sampling_distributions d USING (sample, target, unit)
WHERE e.sample = ? AND e.target = ? AND e.estimator = ?
ORDER BY e.estimate DESC LIMIT ?
"""


FILTER = """
SELECT test_include_pages + test_exclude_pages, roc_auc, budget_precision, budget_recall,
       random_budget_precision, shuffled_budget_precision
FROM fasttext_filters WHERE sample = ? AND target = ?
"""

SCORED = "SELECT document_id, token_count FROM pool_scores WHERE pool = ? AND target = ?"
SELECTED = "SELECT document_id, token_count FROM selections WHERE pool = ? AND target = ?"


def summarise(
    world: World, settings: Settings, compared: str, errors: dict[str, float]
) -> Iterator[str]:
    """Lines to print once everything is materialised.

    `errors` are those of the LLMs trained for the target `compared`, by their documents.
    """
    with connect(settings.home) as connection:
        for target in settings.targets:
            yield from _target(world, settings, connection, target)
            yield from _filter(connection, target)
            yield from _pool(world, connection, target)
    of_each = ", ".join(f"{error:.3f} on {documents} ones" for documents, error in errors.items())
    yield ""
    yield f"Does it help? Error on held-out benchmarks of {compared} of one small LLM each, trained"
    yield f"from scratch on equal tokens of the pool's documents: {of_each}."
    yield "(One seed; scripts/does_it_help.py compares five, with controls.)"
    yield ""
    yield "What next?"
    yield "  make ui                      the assets in the Dagster UI"
    yield f"  {settings.home}/reports/index.html has the reports, to open in a browser"
    yield f"  {world.config_path} is the file to edit; `pcorr run` in its folder makes what changed"


def _target(
    world: World, settings: Settings, connection: DuckDBPyConnection, target: str
) -> Iterator[str]:
    ((verdict, reason),) = connection.execute(
        "SELECT verdict, reason FROM verdicts WHERE sample = ? AND target = ?", [SAMPLE, target]
    ).fetchall()
    estimator = settings.selection_for(target).estimator
    top = connection.execute(TOP, [SAMPLE, target, estimator, TOP_DOMAINS]).fetchall()
    weights = dict(
        connection.execute(
            "SELECT unit, weight FROM sampling_distributions WHERE sample = ? AND target = ?",
            [SAMPLE, target],
        ).fetchall()
    )
    even = topic_weight(world, target, dict.fromkeys(weights, 1.0))
    yield ""
    yield f"Target {target}: {verdict}"
    # The first sentence decides; the report has all of them.
    yield f"  {reason.partition('. ')[0].removesuffix('.')}."
    found = topic_weight(world, target, weights)
    yield f"  weight on the topic {world.targets[target]}: {found:.2f} (of all domains: {even:.2f})"
    yield f"  {'domain':32} {'estimate':>8} {'selected':>9} {'weight':>7}  truth"
    for unit, estimate, frequency, weight in top:
        shares = sorted(world.domain_shares[unit].items(), key=lambda item: -item[1])
        truth = ", ".join(f"{topic} {share:.0%}" for topic, share in shares if share > 0)
        often = "" if frequency is None else f"{frequency:9.0%}"
        yield f"  {unit:32} {estimate:8.3f} {often:>9} {weight:7.3f}  {truth}"


def _filter(connection: DuckDBPyConnection, target: str) -> Iterator[str]:
    row = connection.execute(FILTER, [SAMPLE, target]).fetchone()
    if row is None:
        return
    pages, roc_auc, precision, recall, at_random, shuffled = row
    yield (
        f"  filter on {pages} pages of unseen domains: precision {precision:.2f} at the budget "
        f"(random {at_random:.2f}, shuffled {shuffled:.2f}), recall {recall:.2f}, AUC {roc_auc:.2f}"
    )


def _pool(world: World, connection: DuckDBPyConnection, target: str) -> Iterator[str]:
    scored = dict(connection.execute(SCORED, [POOL, target]).fetchall())
    selected = dict(connection.execute(SELECTED, [POOL, target]).fetchall())
    if not selected:
        return
    at_random = pool_topic_weight(world, target, scored)
    found = pool_topic_weight(world, target, selected)
    yield (
        f"  selected {len(selected):,} of {len(scored):,} documents of a pool of unseen domains: "
        f"{found:.0%} of their {sum(selected.values()):,} tokens are of the topic (random "
        f"{at_random:.0%})"
    )
