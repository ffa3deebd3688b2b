"""Baking, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="baking",
    people=(
        "the baker",
        "my grandmother",
        "the apprentice",
        "our pastry cook",
        "the miller",
        "the confectioner",
        "a home cook",
        "the judge",
    ),
    openers=(
        "While the oven heats",
        "On a floured table",
        "After the second proving",
        "For a Sunday tea",
        "In a warm kitchen",
        "With flour to the elbows",
        "For the village fair",
        "Early in the morning",
    ),
    relations=(
        Relation(
            name="filling",
            templates=(
                "{p} fills the {s} with {v}",
                "a good {s} needs {v}",
                "we like our {s} full of {v}",
            ),
            pairs={
                "strudel": "apples",
                "baklava": "pistachios",
                "stollen": "marzipan",
                "gingerbread": "treacle",
                "brownie": "chocolate",
                "tiramisu": "mascarpone",
                "panettone": "raisins",
                "crumble": "rhubarb",
            },
        ),
        Relation(
            name="tool",
            templates=(
                "{p} shapes the {s} with a {v}",
                "for the {s} take a {v}",
                "you cannot make a {s} without a {v}",
            ),
            pairs={
                "baguette": "lame",
                "sponge": "whisk",
                "shortcrust": "docker",
                "meringue": "nozzle",
                "bagel": "skimmer",
                "pizza": "peel",
                "sourdough": "banneton",
                "croissant": "ruler",
            },
        ),
        Relation(
            name="flour",
            templates=(
                "{p} went to {s} for the {v}",
                "bakers in {s} swear by {v}",
                "the ovens of {s} smell of {v}",
            ),
            pairs={
                "Provence": "chestnuts",
                "Bavaria": "rye",
                "Brittany": "buckwheat",
                "Tuscany": "semolina",
                "Scotland": "oatmeal",
                "Mexico": "maize",
                "Ethiopia": "teff",
                "Anatolia": "sesame",
            },
        ),
        Relation(
            name="fault",
            templates=(
                "{p} blames {s} on {v}",
                "the cause of {s} is {v}",
                "you will get {s} from {v}",
            ),
            pairs={
                "a sunken middle": "draughts",
                "a soggy bottom": "moisture",
                "a pale crust": "underbaking",
                "a dense crumb": "underproofing",
                "a cracked top": "overheating",
                "a sour taste": "bacteria",
                "a tough biscuit": "overworking",
                "a bitter bite": "soda",
            },
        ),
    ),
    colour=(
        "{p} {kneaded} the dough until it was {texture}",
        "the {loaf} came out of the oven {texture} and golden",
        "leave the {loaf} to rest on the {rack} for {while_}",
        "{p} dusted the {rack} with flour and {kneaded} the mixture",
        "we ate the {loaf} with butter after {while_}",
        "a {loaf} keeps for days in the {rack}",
        "in {while_} the yeast makes the batter {texture}",
        "{p} weighed the flour and {kneaded} the {loaf} again",
    ),
    slots={
        "kneaded": ("kneaded", "folded", "stirred", "rolled out", "proved"),
        "loaf": ("loaf", "cake", "tray of buns", "pie", "batch of biscuits", "flatbread"),
        "texture": ("smooth", "fluffy", "crisp", "elastic", "tender"),
        "rack": ("wire rack", "bread bin", "baking tray", "tea towel", "marble slab"),
        "while_": ("ten minutes", "half an hour", "a whole night", "an hour", "a short while"),
    },
    site_words=("crumb", "oven", "flour", "pastry", "dough", "crust", "kitchen"),
)
