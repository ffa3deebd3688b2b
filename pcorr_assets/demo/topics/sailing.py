"""Sailing, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="sailing",
    people=(
        "the skipper",
        "the helmsman",
        "our navigator",
        "the deckhand",
        "the bosun",
        "the cook",
        "a lone yachtsman",
        "the pilot",
    ),
    openers=(
        "With the wind abeam",
        "Before the tide turns",
        "On a long passage",
        "At anchor in the bay",
        "Under reefed canvas",
        "Close to the lee shore",
        "South of the cape",
        "In a following sea",
    ),
    relations=(
        Relation(
            name="fitting",
            templates=(
                "{p} checks the {s} at the {v}",
                "look after the {s} and the {v}",
                "never trust a {s} without its {v}",
            ),
            pairs={
                "jib": "forestay",
                "mainsail": "boom",
                "spinnaker": "pole",
                "genoa": "track",
                "halyard": "winch",
                "sheet": "cleat",
                "backstay": "stern",
                "shroud": "chainplate",
            },
        ),
        Relation(
            name="knot",
            templates=(
                "{p} ties a {s} round the {v}",
                "use the {s} for a {v}",
                "sailors like the {s} on a {v}",
            ),
            pairs={
                "bowline": "bollard",
                "clove hitch": "spar",
                "sheet bend": "hawser",
                "rolling hitch": "chain",
                "reef knot": "sailbag",
                "half hitch": "post",
                "carrick bend": "towline",
                "anchor bend": "shackle",
            },
        ),
        Relation(
            name="waters",
            templates=(
                "{p} knows the {s} for its {v}",
                "the chart of the {s} shows {v}",
                "in the {s} beware of {v}",
            ),
            pairs={
                "Solent": "overfalls",
                "Baltic": "icefloes",
                "Aegean": "meltemi",
                "Skagerrak": "crosscurrents",
                "Channel": "tankers",
                "Hebrides": "skerries",
                "Adriatic": "bora",
                "Waddenzee": "sandbanks",
            },
        ),
        Relation(
            name="watch",
            templates=(
                "{p} says that {s} means {v}",
                "after {s} comes {v}",
                "pilots read {s} as {v}",
            ),
            pairs={
                "mackerel sky": "rain",
                "a falling glass": "gales",
                "a ring round the moon": "drizzle",
                "dark catspaws": "gusts",
                "a green buoy": "shallows",
                "high cirrus": "westerlies",
                "a rising glass": "sunshine",
                "a cold front": "hail",
            },
        ),
    ),
    colour=(
        "{p} {trimmed} the sails while the {boat} {heeled} in the {breeze}",
        "the {boat} lay in the {harbour} and waited for a {breeze}",
        "we sailed the {boat} out of the {harbour} at {hour}",
        "{p} marked the {harbour} on the chart and {trimmed} the course",
        "below deck {p} cooked for the watch while the {boat} {heeled}",
        "by {hour} a {breeze} had carried us past the {harbour}",
        "the keel of a {boat} needs paint before it leaves the {harbour}",
        "{p} logged the {breeze} and the depth under the keel at {hour}",
    ),
    slots={
        "boat": ("ketch", "sloop", "yawl", "cutter", "schooner", "catamaran", "old yacht"),
        "trimmed": ("eased", "trimmed", "hauled in", "watched", "corrected"),
        "heeled": ("heeled", "rolled gently", "surged ahead", "pitched", "drifted"),
        "breeze": ("steady breeze", "stiff northerly", "fair wind", "light air", "sea breeze"),
        "harbour": ("harbour", "marina", "inner roads", "fishing port", "estuary"),
        "hour": ("slack water", "high tide", "first light", "the second dog watch", "low water"),
    },
    site_words=("harbour", "windward", "bluewater", "keel", "anchorage", "masthead", "tideway"),
)
