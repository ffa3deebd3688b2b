"""Orchestral music, as its sites talk about it. Words only."""

from __future__ import annotations

from pcorr_assets.demo.topics.shape import Relation, Topic

TOPIC = Topic(
    name="music",
    people=(
        "the conductor",
        "our soloist",
        "the composer",
        "a critic",
        "the choirmaster",
        "the leader",
        "a pianist",
        "the librarian",
    ),
    openers=(
        "In the slow movement",
        "At the dress rehearsal",
        "After the interval",
        "From the organ loft",
        "In the final bars",
        "Above the strings",
        "On period instruments",
        "Before the applause",
    ),
    relations=(
        Relation(
            name="instrument",
            templates=(
                "{p} repaired the {s} with a new {v}",
                "listen to the {s} and its {v}",
                "players of the {s} fear for the {v}",
            ),
            pairs={
                "violin": "bridge",
                "oboe": "reed",
                "trumpet": "mouthpiece",
                "timpani": "drumheads",
                "harpsichord": "quills",
                "cello": "endpin",
                "clarinet": "ligature",
                "horn": "rotors",
            },
        ),
        Relation(
            name="marking",
            templates=(
                "{p} takes {s} for {v}",
                "the word {s} asks for {v}",
                "you should play {s} with {v}",
            ),
            pairs={
                "dolce": "sweetness",
                "pesante": "weight",
                "presto": "speed",
                "sordino": "muting",
                "legato": "smoothness",
                "marcato": "accents",
                "rubato": "freedom",
                "morendo": "fading",
            },
        ),
        Relation(
            name="composer",
            templates=(
                "{p} loves {s} for the {v}",
                "pupils of {s} master {v}",
                "listen in {s} for the {v}",
            ),
            pairs={
                "Bach": "counterpoint",
                "Haydn": "wit",
                "Berlioz": "orchestration",
                "Debussy": "colour",
                "Stravinsky": "metre",
                "Wagner": "leitmotifs",
                "Chopin": "ornaments",
                "Bruckner": "silences",
            },
        ),
        Relation(
            name="form",
            templates=(
                "{p} gave the {s} its {v}",
                "the {s} ends in a {v}",
                "you know a {s} by its {v}",
            ),
            pairs={
                "fugue": "countersubject",
                "sonata": "recapitulation",
                "rondo": "refrain",
                "passacaglia": "ostinato",
                "minuet": "trio",
                "mazurka": "drone",
                "overture": "fanfare",
                "nocturne": "arpeggio",
            },
        ),
    ),
    colour=(
        "{p} {raised} the baton and the {section} began {softly}",
        "the {section} answered {softly} from the {hall}",
        "in the {hall} the {piece} was encored twice",
        "{p} {raised} a pencil and marked the {piece}",
        "the {piece} ends {softly} with the {section} alone",
        "critics in the {hall} praised the {section}",
        "we heard the {piece} from a seat behind the {section}",
        "{p} tuned with the {section} before the {piece}",
    ),
    slots={
        "raised": ("raised", "lowered", "picked up", "dropped", "waved"),
        "section": ("woodwind", "second violins", "brass", "chorus", "double basses"),
        "softly": ("softly", "in canon", "fortissimo", "without vibrato", "out of tune"),
        "hall": ("concert hall", "village church", "recording studio", "opera house", "gallery"),
        "piece": ("symphony", "cantata", "string quartet", "concerto", "suite"),
    },
    site_words=("crescendo", "podium", "quartet", "encore", "baton", "cadence", "libretto"),
)
