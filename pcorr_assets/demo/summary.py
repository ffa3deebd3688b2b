"""What the demo prints: verdicts, best domains, and how much lies on the target's topic.

Belongs here: reading the tables through DuckDB, as a user would, and putting the answer
beside the truth about the world. Does not belong here: anything the platform needs.
"""

from __future__ import annotations

from collections.abc import Iterator

from pcorr_assets.config import Settings
from pcorr_assets.demo.world import SAMPLE, World, topic_weight
from pcorr_assets.warehouse import connect

TOP_DOMAINS = 10

TOP = """
SELECT e.unit, e.estimate, e.selection_frequency, d.weight
FROM estimates e JOIN sampling_distributions d USING (sample, target, unit)
WHERE e.sample = ? AND e.target = ? AND e.estimator = ?
ORDER BY e.estimate DESC LIMIT ?
"""


def summarise(world: World, settings: Settings) -> Iterator[str]:
    """Lines to print once everything is materialised."""
    with connect(settings.home) as connection:
        for target in settings.targets:
            yield from _target(world, settings, connection, target)
    yield ""
    yield "What next?"
    yield "  make ui                               the assets in the Dagster UI"
    yield f"  less {world.config_path}   the file to edit"
    yield '  .venv/bin/python -c "from pcorr_assets.warehouse import connect; '
    yield f"      connect('{settings.home}').sql('SELECT * FROM verdicts').show()\""


def _target(world: World, settings: Settings, connection, target: str) -> Iterator[str]:
    verdict, reason = connection.execute(
        "SELECT verdict, reason FROM verdicts WHERE sample = ? AND target = ?", [SAMPLE, target]
    ).fetchone()
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
    yield f"  {reason}"
    found = topic_weight(world, target, weights)
    yield f"  weight on the topic {world.targets[target]}: {found:.2f} (of all domains: {even:.2f})"
    yield f"  {'domain':32} {'estimate':>8} {'selected':>9} {'weight':>7}  truth"
    for unit, estimate, frequency, weight in top:
        shares = sorted(world.domain_shares[unit].items(), key=lambda item: -item[1])
        truth = ", ".join(f"{topic} {share:.0%}" for topic, share in shares if share > 0)
        often = "" if frequency is None else f"{frequency:9.0%}"
        yield f"  {unit:32} {estimate:8.3f} {often:>9} {weight:7.3f}  {truth}"
