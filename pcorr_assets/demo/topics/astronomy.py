"""Astronomy, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="astronomy",
    people=(
        "the observer",
        "an astronomer",
        "our society",
        "the student",
        "the night assistant",
        "a stargazer",
        "the professor",
        "the technician",
    ),
    openers=(
        "Far from the city lights",
        "Through a small telescope",
        "On a moonless night",
        "At the observatory",
        "During the opposition",
        "Low above the horizon",
        "In the winter sky",
        "After a long exposure",
    ),
    relations=(
        Relation(
            name="star",
            templates=(
                "{p} found {s} in {v}",
                "tonight {s} rises with {v}",
                "the map shows {s} inside {v}",
            ),
            pairs={
                "Vega": "Lyra",
                "Altair": "Aquila",
                "Deneb": "Cygnus",
                "Rigel": "Orion",
                "Antares": "Scorpius",
                "Spica": "Virgo",
                "Regulus": "Leo",
                "Aldebaran": "Taurus",
            },
        ),
        Relation(
            name="world",
            templates=(
                "{p} showed us {s} and its {v}",
                "we photographed {s} with its {v}",
                "there is no {s} without {v}",
            ),
            pairs={
                "Saturn": "rings",
                "Jupiter": "belts",
                "Mars": "dunes",
                "Venus": "phases",
                "Mercury": "scarps",
                "Neptune": "storms",
                "Titan": "methane",
                "Europa": "ice",
            },
        ),
        Relation(
            name="instrument",
            templates=(
                "{p} uses a {s} to study {v}",
                "take the {s} to find {v}",
                "one night with the {s} gave us {v}",
            ),
            pairs={
                "spectrograph": "redshift",
                "coronagraph": "prominences",
                "radio dish": "pulsars",
                "photometer": "eclipses",
                "interferometer": "binaries",
                "bolometer": "dust",
                "heliostat": "sunspots",
                "meridian circle": "parallax",
            },
        ),
        Relation(
            name="scholar",
            templates=(
                "{p} read what {s} wrote about {v}",
                "it was {s} who explained {v}",
                "we thank {s} for the {v}",
            ),
            pairs={
                "Kepler": "ellipses",
                "Galileo": "satellites",
                "Herschel": "nebulae",
                "Leavitt": "cepheids",
                "Hubble": "galaxies",
                "Cannon": "spectra",
                "Payne": "hydrogen",
                "Messier": "comets",
            },
        ),
    ),
    colour=(
        "{p} {watched} the {object} through a thin veil of cloud",
        "the {object} rose {slowly} above the {dome}",
        "light from the {object} needs {ages} to reach us",
        "{p} cooled the camera and {watched} the sky above the {dome}",
        "in {ages} the {object} will look {slowly} different",
        "the mirror of the {dome} follows the {object} all night",
        "{p} noted the magnitude of the {object} in the logbook",
        "dark skies over the {dome} make the {object} easy to see",
    ),
    slots={
        "watched": ("watched", "photographed", "sketched", "tracked", "measured"),
        "object": ("galaxy", "star cluster", "planet", "comet", "double star", "faint nebula"),
        "slowly": ("slowly", "visibly", "hardly", "suddenly", "a little"),
        "dome": ("dome", "mountain station", "eyepiece", "old refractor", "hilltop"),
        "ages": ("a thousand years", "eight minutes", "four years", "many ages", "centuries"),
    },
    site_words=("zenith", "starlight", "nebula", "orbit", "eclipse", "telescope", "nightsky"),
)
