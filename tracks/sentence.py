"""A sentence that describes a track, made from its tags."""

from tracks.tags import split_tag

# A track has one tag of such a category: a description names the likeliest, however likely.
EXCLUSIVE = {"tempo", "mode", "key", "meter", "drums"}


# The blank of the tutorial's sentence that a category fills; others are in "a song with []".
BLANKS = {
    **dict.fromkeys(("song", "genre", "style", "tempo"), "song"),
    **dict.fromkeys(("mood", "emotion"), "mood"),
    **dict.fromkeys(("usage", "activity"), "use"),
    "instrument": "features",
    "vocal": "vocal",
}


def describe(probabilities, tags):
    """The tutorial's sentence, its blanks filled from the probabilities (tags,) of tags.

    "This is a [] song that is []. It features []. It features [] vocal. It is a song with [] that
    you might like to listen to while []." What has no tag is left out; a category for which the
    sentence has no blank is in "a song with [high energy]". Tags without a category are listed.
    """
    chosen = choose_names(probabilities, tags)
    plain = ", ".join(chosen.pop("", []))
    blanks = {blank: [] for blank in (*BLANKS.values(), "rest")}
    for category, names in chosen.items():
        blanks[BLANKS.get(category, "rest")] += [fill(name, category) for name in names]
    text = " ".join(sentences(**blanks))
    if text and plain:
        return f"{text} Tags: {plain}."
    return text or plain or "no tag is more likely than not"


def choose_names(probabilities, tags):
    """The names that a description takes of tags, {category: [name, ...]}, the likeliest first.

    Those with a probability above 0.5, and of a category in `EXCLUSIVE` always the likeliest alone.
    """
    ranked = {}
    for probability, tag in sorted(zip(probabilities, tags), key=lambda pair: -pair[0]):
        category, name = split_tag(tag)
        ranked.setdefault(category.lower(), []).append((probability, name))
    return {
        category: [each[0][1]]
        if category in EXCLUSIVE and len(each) > 1
        else [name for probability, name in each if probability > 0.5]
        for category, each in ranked.items()
    }


def fill(name, category):
    """A blank with a tag, and its category where it says little alone: `[high energy]`."""
    alone = category in BLANKS and category != "tempo"
    return f"[{name}]" if alone or category in name.split() else f"[{name} {category}]"


def sentences(song, mood, features, vocal, use, rest):
    """Yield the sentences of which any blank, a list of filled ones, is filled."""
    if song or mood:
        article = "an" if song and song[0][1] in "aeiouAEIOU" else "a"
        being = f" that is {join(mood)}" if mood else ""
        yield f"This is {' '.join([article, *song, 'song'])}{being}."
    if features:
        yield f"It features {join(features)}."
    if vocal:
        yield f"It features {join(vocal)} vocal."
    if rest or use:
        having = f" with {join(rest)}" if rest else ""
        liked = f" that you might like to listen to while {join(use)}" if use else ""
        yield f"It is a song{having}{liked}."


def join(words):
    """Words with commas, and `and` before the last."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
