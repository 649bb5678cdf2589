"""The sentence that describes a track."""

import pytest

from tracks.sentence import describe_tags


def test_the_tutorials_sentence():
    tags = {
        "song:very danceable": 0.9,
        "emotion:arousing/awakening": 0.9,
        "emotion:exciting/thrilling": 0.8,
        "emotion:happy": 0.7,
        "emotion:sad": 0.2,
        "vocal:strong": 0.8,
        "vocal:fast tempo": 0.6,
        "energy:high": 0.7,
        "beat:high": 0.6,
        "usage:at a party": 0.51,
    }
    assert describe_tags(tags.values(), tags) == (
        "This is a [very danceable] song that is [arousing/awakening], [exciting/thrilling] and "
        "[happy]. It features [strong] and [fast tempo] vocal. It is a song with [high energy] and "
        "[high beat] that you might like to listen to while [at a party]."
    )


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        (
            {"tempo:slow": 0.3, "tempo:fast": 0.4, "mode:minor": 0.1, "mode:major": 0.2}
            | {"drums:drums": 0.1, "drums:no drums": 0.9}
            | {"instrument:piano": 0.7, "instrument:flute": 0.9, "instrument:sax": 0.5},
            "This is a [fast tempo] song. It features [flute] and [piano]. "
            "It is a song with [no drums] and [major mode].",
        ),
        ({"genre:indie": 0.6, "usage:driving": 0.6, "loud": 0.6, "old": 0.7},)
        + (
            "This is an [indie] song. It is a song that you might like to listen to while "
            "[driving]. Tags: old, loud.",
        ),
        ({"loud": 0.6, "old": 0.7, "slow": 0.1, ":odd": 0.8, "odd:": 0.9}, "odd:, :odd, old, loud"),
        ({"tempo:slow": 0.3, "loud": 0.5}, "no tag has more than 50 %"),
    ],
)
def test_other_categories_and_none(tags, sentence):
    assert describe_tags(list(tags.values()), list(tags)) == sentence
