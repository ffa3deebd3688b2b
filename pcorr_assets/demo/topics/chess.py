"""Chess, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="chess",
    people=(
        "the grandmaster",
        "her opponent",
        "the arbiter",
        "our club champion",
        "the trainer",
        "a young prodigy",
        "the commentator",
        "the challenger",
    ),
    openers=(
        "In a closed position",
        "With seconds on the clock",
        "After castling short",
        "A pawn down",
        "In the last round",
        "On the open file",
        "In time trouble",
        "By the old rules",
    ),
    relations=(
        Relation(
            name="opening",
            templates=(
                "{p} meets the {s} with a {v}",
                "the point of the {s} is the {v}",
                "nobody plays the {s} without a {v}",
            ),
            pairs={
                "Sicilian": "counterattack",
                "Caro-Kann": "sortie",
                "Grunfeld": "undermining",
                "Catalan": "fianchetto",
                "Dutch": "stonewall",
                "Benoni": "majority",
                "Pirc": "hedgehog",
                "Evans": "gambit",
            },
        ),
        Relation(
            name="motif",
            templates=(
                "{p} saw the {s} on the {v}",
                "a {s} wins the {v}",
                "solvers try the {s} against the {v}",
            ),
            pairs={
                "fork": "rook",
                "skewer": "queen",
                "smothered mate": "king",
                "deflection": "defender",
                "zwischenzug": "recapture",
                "windmill": "seventh",
                "clearance": "diagonal",
                "interference": "battery",
            },
        ),
        Relation(
            name="champion",
            templates=(
                "{p} learned from {s} about {v}",
                "the games of {s} teach {v}",
                "we praise {s} for {v}",
            ),
            pairs={
                "Capablanca": "simplicity",
                "Tal": "sacrifice",
                "Petrosian": "prophylaxis",
                "Karpov": "restriction",
                "Morphy": "development",
                "Nimzowitsch": "blockade",
                "Smyslov": "harmony",
                "Lasker": "psychology",
            },
        ),
        Relation(
            name="ending",
            templates=(
                "{p} held the {s} ending by {v}",
                "the {s} ending teaches {v}",
                "win the {s} ending with {v}",
            ),
            pairs={
                "Lucena": "bridging",
                "Vancura": "checks",
                "opposite-bishop": "fortresses",
                "pure pawn": "opposition",
                "Reti": "geometry",
                "queen": "perpetuals",
                "knight": "zugzwang",
                "rook-pawn": "corners",
            },
        ),
    ),
    colour=(
        "{p} {pushed} the {pawn} and stopped the clock",
        "the {pawn} stood {badly} on the board",
        "after {moves} the {pawn} was lost and White resigned",
        "{p} thought for {moves} and then {pushed} a piece",
        "analysts called the {event} dull until {p} {pushed} the {pawn}",
        "at the {event} a draw was agreed after {moves}",
        "Black stood {badly} in the {event} and offered a draw",
        "the score sheet of the {event} shows how the {pawn} was taken",
    ),
    slots={
        "pushed": ("advanced", "sacrificed", "exchanged", "retreated", "centralised"),
        "pawn": ("passed pawn", "dark bishop", "isolated pawn", "knight on the rim", "idle rook"),
        "badly": ("badly", "beautifully", "safely", "awkwardly", "under attack"),
        "moves": ("forty moves", "a short combination", "ten quiet moves", "an hour", "one slip"),
        "event": ("simultaneous display", "team match", "blitz final", "candidates cycle", "open"),
    },
    site_words=("checkmate", "endgame", "gambit", "rookfile", "zugzwang", "castling", "blitz"),
)
