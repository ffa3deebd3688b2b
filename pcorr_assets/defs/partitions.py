"""How the assets are partitioned, and how partitions of one asset map to another's.

Belongs here: partition definitions and mappings. Does not belong here: registering
LLMs (see `registration`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from pcorr_assets.config import Settings

LLM = "llm"
POOL_GROUP = "pool_group"
SAMPLE = "sample"
TARGET = "target"
POOL = "pool"


@dataclass(frozen=True)
class Partitions:
    """Partition definitions of one configuration.

    Assets that need text are partitioned by the text samples only, later ones by all
    samples, so that an imported matrix makes no partition that can never succeed.
    """

    text_samples: tuple[str, ...]
    samples: tuple[str, ...]
    targets: tuple[str, ...]
    pools: tuple[str, ...]
    compared_pools: tuple[str, ...]

    @staticmethod
    def of(settings: Settings) -> Partitions:
        """The partitions of a configuration."""
        return Partitions(
            tuple(settings.text_samples),
            tuple(settings.samples),
            tuple(settings.targets),
            tuple(settings.pools),
            tuple(name for name, pool in settings.pools.items() if pool.methods),
        )

    @cached_property
    def llm(self) -> dg.DynamicPartitionsDefinition:
        """One partition for each registered LLM."""
        return dg.DynamicPartitionsDefinition(name=LLM)

    @cached_property
    def pool_group(self) -> dg.DynamicPartitionsDefinition:
        """One partition for each group of files of each pool."""
        return dg.DynamicPartitionsDefinition(name=POOL_GROUP)

    @cached_property
    def text_sample(self) -> dg.StaticPartitionsDefinition:
        """One partition for each sample that has texts."""
        return dg.StaticPartitionsDefinition(list(self.text_samples))

    @cached_property
    def sample(self) -> dg.StaticPartitionsDefinition:
        """One partition for each sample, imported matrices included."""
        return dg.StaticPartitionsDefinition(list(self.samples))

    @cached_property
    def target(self) -> dg.StaticPartitionsDefinition:
        """One partition for each target."""
        return dg.StaticPartitionsDefinition(list(self.targets))

    @cached_property
    def searched_target(self) -> dg.StaticPartitionsDefinition:
        """One partition for each target, where there are texts to search for its benchmarks."""
        return dg.StaticPartitionsDefinition(list(self.targets) if self.text_samples else [])

    @cached_property
    def pool(self) -> dg.StaticPartitionsDefinition:
        """One partition for each pool."""
        return dg.StaticPartitionsDefinition(list(self.pools))

    @cached_property
    def llm_sample(self) -> dg.MultiPartitionsDefinition:
        """LLM x text sample."""
        return dg.MultiPartitionsDefinition({LLM: self.llm, SAMPLE: self.text_sample})

    @cached_property
    def sample_target(self) -> dg.MultiPartitionsDefinition:
        """Sample x target."""
        return dg.MultiPartitionsDefinition({SAMPLE: self.sample, TARGET: self.target})

    @cached_property
    def text_sample_target(self) -> dg.MultiPartitionsDefinition:
        """Text sample x target."""
        return dg.MultiPartitionsDefinition({SAMPLE: self.text_sample, TARGET: self.target})

    @cached_property
    def pool_target(self) -> dg.MultiPartitionsDefinition:
        """Pool x target."""
        return dg.MultiPartitionsDefinition({POOL: self.pool, TARGET: self.target})

    @cached_property
    def compared_pool_target(self) -> dg.MultiPartitionsDefinition:
        """Pool x target, of the pools that name other methods."""
        compared = dg.StaticPartitionsDefinition(list(self.compared_pools))
        return dg.MultiPartitionsDefinition({POOL: compared, TARGET: self.target})

    @property
    def to_sample_target(self) -> dg.PartitionMapping | None:
        """From one dimension (a sample, or a target) to sample x target.

        Dagster finds out which of the two by comparing their keys, which tells nothing
        where samples and targets have the same keys: then all partitions count as upstream.
        """
        return dg.AllPartitionMapping() if self.samples == self.targets else None

    @property
    def to_text_sample_target(self) -> dg.PartitionMapping | None:
        """As `to_sample_target`, for text samples only."""
        return dg.AllPartitionMapping() if self.text_samples == self.targets else None

    @property
    def text_samples_to_samples(self) -> dg.PartitionMapping | None:
        """From assets of the text samples to assets of all samples.

        Without imports the two are equal and Dagster infers the exact mapping. With
        imports no mapping that the UI and the daemon understand leads from two
        dimensions to one with more keys, so every partition counts as upstream: what is
        out of date then shows for one sample too many, never for one too few.
        """
        return None if self.samples == self.text_samples else dg.AllPartitionMapping()

    @property
    def samples_to_text_samples(self) -> dg.PartitionMapping | None:
        """From sample x target to text sample x target: the same keys, fewer of them."""
        return None if self.samples == self.text_samples else self._of_samples(self.text_samples)

    @property
    def searched_to_text_samples(self) -> dg.PartitionMapping | None:
        """From `searched_target` to text sample x target."""
        return self.to_text_sample_target if self.text_samples else dg.AllPartitionMapping()

    @staticmethod
    def _of_samples(samples: tuple[str, ...]) -> dg.PartitionMapping:
        return dg.MultiPartitionMapping(
            {
                SAMPLE: dg.DimensionPartitionMapping(
                    SAMPLE, dg.StaticPartitionMapping({key: key for key in samples})
                ),
                TARGET: dg.DimensionPartitionMapping(TARGET, dg.IdentityPartitionMapping()),
            }
        )


def keys_of(partition_key: str) -> dict[str, str]:
    """`{dimension: key}` of a multi-dimensional partition key."""
    if not isinstance(partition_key, dg.MultiPartitionKey):
        raise TypeError(f"{partition_key!r} is not a multi-dimensional partition key")
    return dict(partition_key.keys_by_dimension)


def dimensions_of(
    definition: dg.PartitionsDefinition | None, partition: str | None, single: str = SAMPLE
) -> dict[str, str]:
    """`{dimension: key}` of any partition; `single` is what static keys of one dimension are."""
    if definition is None or partition is None:
        return {}
    if isinstance(definition, dg.MultiPartitionsDefinition):
        keys = definition.get_partition_key_from_str(partition).keys_by_dimension
        return dict(keys)
    if isinstance(definition, dg.DynamicPartitionsDefinition) and definition.name:
        return {definition.name: partition}
    return {single: partition}
