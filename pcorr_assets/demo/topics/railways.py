"""Railways, as its sites talk about them. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="railways",
    people=(
        "the driver",
        "the signalman",
        "a guard",
        "the stationmaster",
        "our volunteer",
        "the fireman",
        "an engineer",
        "the inspector",
    ),
    openers=(
        "On the branch line",
        "At the junction",
        "In the days of steam",
        "Beyond the viaduct",
        "Under the station clock",
        "Behind a heavy goods train",
        "In the engine shed",
        "On the mountain section",
    ),
    relations=(
        Relation(
            name="engine-part",
            templates=(
                "{p} checked the {s} for {v}",
                "a bad {s} suffers from {v}",
                "the fitters cleared the {s} of {v}",
            ),
            pairs={
                "boiler": "scale",
                "axlebox": "hotboxes",
                "piston": "blowby",
                "firebox": "clinker",
                "pantograph": "arcing",
                "brake hose": "leaks",
                "bogie": "hunting",
                "injector": "priming",
            },
        ),
        Relation(
            name="line",
            templates=(
                "{p} took the {s} line for the {v}",
                "the {s} line carries {v}",
                "the {s} line is known for {v}",
            ),
            pairs={
                "Settle": "moors",
                "Semmering": "tourists",
                "Ffestiniog": "slate",
                "Darjeeling": "tea",
                "Ofoten": "ore",
                "Bernina": "glaciers",
                "Nullarbor": "emptiness",
                "Durango": "silver",
            },
        ),
        Relation(
            name="signal",
            templates=(
                "{p} reads {s} as {v}",
                "in the rule book {s} means {v}",
                "remember that {s} stands for {v}",
            ),
            pairs={
                "a double yellow": "slackening",
                "a raised arm": "proceed",
                "three bells": "approach",
                "a white diamond": "telephone",
                "a red flag": "danger",
                "two whistles": "shunting",
                "a lunar light": "siding",
                "a blue lamp": "workmen",
            },
        ),
        Relation(
            name="wagon",
            templates=(
                "{p} coupled the {s} with the {v}",
                "load the {s} with {v}",
                "the {s} is full of {v}",
            ),
            pairs={
                "hopper": "coal",
                "tanker": "diesel",
                "flatcar": "timber",
                "reefer": "fruit",
                "bolster": "girders",
                "mail van": "parcels",
                "stock car": "cattle",
                "sleeper": "passengers",
            },
        ),
    ),
    colour=(
        "{p} {waved} as the {train} left the {platform}",
        "the {train} climbed {steadily} towards the {platform}",
        "at {time} the {train} stood in the {platform} with its doors open",
        "{p} {waved} and wrote the number of the {train} in a notebook",
        "smoke drifted {steadily} over the {platform} at {time}",
        "the timetable sends a {train} to the {platform} at {time}",
        "{p} oiled the points before the {train} was due",
        "sleepers and ballast near the {platform} were renewed",
    ),
    slots={
        "waved": ("waved", "blew the whistle", "checked the tickets", "set the road", "waited"),
        "train": ("stopping train", "night express", "railcar", "steam special", "freight"),
        "platform": ("platform", "tunnel mouth", "goods yard", "level crossing", "depot"),
        "steadily": ("steadily", "slowly", "noisily", "with effort", "on time"),
        "time": ("midnight", "six in the morning", "a quarter past nine", "noon", "dusk"),
    },
    site_words=("footplate", "junction", "sidings", "semaphore", "branchline", "viaduct", "steam"),
)
