"""Beekeeping, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="beekeeping",
    people=(
        "the beekeeper",
        "an inspector",
        "the breeder",
        "our mentor",
        "the swarm catcher",
        "the honey judge",
        "a neighbour",
        "the warden",
    ),
    openers=(
        "At the hive entrance",
        "With the smoker lit",
        "In the swarming season",
        "Before the honey flow",
        "On a warm afternoon",
        "When winter stores run low",
        "In the second year",
        "Near the oak wood",
    ),
    relations=(
        Relation(
            name="forage",
            templates=(
                "{p} says that {s} tastes of {v}",
                "honey from {s} smells of {v}",
                "we know {s} by its {v}",
            ),
            pairs={
                "heather": "toffee",
                "linden": "mint",
                "acacia": "vanilla",
                "clover": "hay",
                "chestnut": "tannin",
                "rapeseed": "turnip",
                "sunflower": "butter",
                "manuka": "camphor",
            },
        ),
        Relation(
            name="equipment",
            templates=(
                "{p} takes the {s} to the {v}",
                "use the {s} on the {v}",
                "a clean {s} helps the {v}",
            ),
            pairs={
                "smoker": "guards",
                "hive tool": "propolis",
                "excluder": "queen",
                "uncapping fork": "cappings",
                "extractor": "supers",
                "feeder": "syrup",
                "clearer board": "stragglers",
                "nucleus box": "swarm",
            },
        ),
        Relation(
            name="disease",
            templates=(
                "{p} treats {s} with {v}",
                "the remedy for {s} is {v}",
                "we answer {s} with {v}",
            ),
            pairs={
                "varroa": "acid",
                "nosema": "fumagillin",
                "chalkbrood": "ventilation",
                "foulbrood": "burning",
                "wax moth": "freezing",
                "dysentery": "candy",
                "sacbrood": "requeening",
                "small beetle": "diatoms",
            },
        ),
        Relation(
            name="caste",
            templates=(
                "{p} watched the {s} at the {v}",
                "the {s} looks after the {v}",
                "every {s} lives for the {v}",
            ),
            pairs={
                "nurse bee": "brood",
                "drone": "mating",
                "forager": "nectar",
                "water carrier": "cooling",
                "undertaker": "corpses",
                "wax maker": "comb",
                "scout": "dance",
                "fanner": "airflow",
            },
        ),
    ),
    colour=(
        "{p} {lifted} the frame and looked at the {colony}",
        "the {colony} hummed {calmly} in the {apiary}",
        "{lots} flew from the {apiary} across the meadow",
        "{p} weighed the hive in the {apiary} and {lifted} the lid",
        "after the inspection the {colony} settled {calmly}",
        "{lots} covered the comb when {p} opened the brood box",
        "we put a second super on the {colony} near the {apiary}",
        "jars from the {apiary} were filled while {lots} slept",
    ),
    slots={
        "lifted": ("lifted", "smoked", "marked", "scraped", "turned"),
        "colony": ("colony", "weak stock", "young swarm", "buckfast hive", "observation hive"),
        "calmly": ("calmly", "angrily", "quietly", "restlessly", "busily"),
        "apiary": ("apiary", "orchard stand", "roof garden", "bee house", "heath site"),
        "lots": ("thousands of workers", "a few drones", "tired foragers", "bees", "the cluster"),
    },
    site_words=("apiary", "honeycomb", "nectar", "beeline", "skep", "pollen", "waxworks"),
)
