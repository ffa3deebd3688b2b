"""Gardening, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="gardening",
    people=(
        "the gardener",
        "my neighbour",
        "the head grower",
        "our allotment",
        "the florist",
        "the landscaper",
        "a beginner",
        "the botanist",
    ),
    openers=(
        "After the last frost",
        "In the cool greenhouse",
        "Early in the spring",
        "Behind the old wall",
        "Once the leaves have fallen",
        "In a dry summer",
        "At the garden show",
        "On heavy clay",
    ),
    relations=(
        Relation(
            name="companion",
            templates=(
                "{p} plants {s} beside the {v}",
                "{s} will thrive next to {v}",
                "never separate {s} from {v}",
            ),
            pairs={
                "tomatoes": "basil",
                "carrots": "leeks",
                "roses": "garlic",
                "beans": "squash",
                "cabbages": "nasturtiums",
                "strawberries": "borage",
                "potatoes": "horseradish",
                "lettuces": "chervil",
            },
        ),
        Relation(
            name="pest",
            templates=(
                "{p} protects the {s} from {v}",
                "look at the {s} for {v}",
                "many a {s} suffers from {v}",
            ),
            pairs={
                "plum tree": "wasps",
                "hosta": "slugs",
                "lily": "beetles",
                "box hedge": "moths",
                "vine": "mildew",
                "gooseberry": "sawfly",
                "raspberry": "weevils",
                "leek bed": "rust",
            },
        ),
        Relation(
            name="soil",
            templates=(
                "{p} feeds the {s} with {v}",
                "give the {s} some {v}",
                "you should plant a {s} in {v}",
            ),
            pairs={
                "azalea": "peat",
                "lavender": "gravel",
                "cactus": "sand",
                "rhubarb": "manure",
                "orchid": "bark",
                "fuchsia": "compost",
                "clematis": "limestone",
                "hydrangea": "alum",
            },
        ),
        Relation(
            name="job",
            templates=(
                "{p} keeps {s} for {v}",
                "the work for {s} is {v}",
                "there is no {s} without {v}",
            ),
            pairs={
                "January": "pruning",
                "February": "chitting",
                "March": "sowing",
                "April": "hardening",
                "May": "staking",
                "June": "thinning",
                "July": "watering",
                "August": "layering",
            },
        ),
    ),
    colour=(
        "{p} {dug} the {bed} and raked it level",
        "the {bed} needs {care} when the {bloom} appear",
        "water the {bloom} in the evening and give the {bed} {care}",
        "{p} raised the {bloom} from seed in a {pot}",
        "a {pot} of {bloom} brightens the path to the {bed}",
        "{p} {dug} round the roots and moved the {pot} into the shade",
        "with {care} the {bloom} will flower until autumn",
        "the wheelbarrow stood by the {bed} beside an empty {pot}",
    ),
    slots={
        "dug": ("dug over", "weeded", "watered", "hoed", "cleared"),
        "bed": ("flower bed", "vegetable patch", "border", "rockery", "herb corner"),
        "care": ("shade", "patience", "mulch", "a little lime", "good drainage"),
        "bloom": ("seedlings", "foxgloves", "peonies", "sweet peas", "geraniums", "young shoots"),
        "pot": ("clay pot", "cold frame", "wooden trough", "seed tray", "zinc tub"),
    },
    site_words=("trowel", "allotment", "compost", "orchard", "greenfinger", "border", "seedbed"),
)
