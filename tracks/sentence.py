"""Describe a track in a sentence, from its tags (slide "Music Auto-tagging")."""

from collections.abc import Iterator, Sequence

from numpy.typing import NDArray

from tracks.tags import split_tag

Words = list[str]
# A track has exactly one tag in these categories: the sentence takes the most probable one.
EXCLUSIVE = {"tempo", "mode", "key", "meter", "drums"}
# The blank in the tutorial's sentence for each category; others go into "a song with []".
BLANKS = {
    **dict.fromkeys(("song", "genre", "style", "tempo"), "song"),
    **dict.fromkeys(("mood", "emotion"), "mood"),
    **dict.fromkeys(("usage", "activity"), "use"),
    "instrument": "features",
    "vocal": "vocal",
}


def describe_tags(probabilities: Sequence[float] | NDArray, tags: Sequence[str]) -> str:
    """Fill the tutorial's sentence from the probabilities (tags,) of tags.

    "This is a [] song that is []. It features []. It features [] vocal. It is a song with [] that
    you might like to listen to while []." Parts without a tag are left out, and tags without a
    category are listed at the end.

    Examples
    --------
    >>> describe_tags([0.9, 0.8, 0.2], ["mood:happy", "instrument:piano", "vocal:female"])
    'This is a song that is [happy]. It features [piano].'
    """
    chosen = choose_names(probabilities, tags)
    plain = ", ".join(chosen.pop("", []))
    blanks: dict[str, Words] = {blank: [] for blank in (*BLANKS.values(), "rest")}
    for category, names in chosen.items():
        blanks[BLANKS.get(category, "rest")] += [fill(name, category) for name in names]
    text = " ".join(sentences(**blanks))
    if text and plain:
        return f"{text} Tags: {plain}."
    return text or plain or "no tag is more likely than not"


def choose_names(
    probabilities: Sequence[float] | NDArray, tags: Sequence[str]
) -> dict[str, list[str]]:
    """Return the tags above 0.5 by category, the most probable first.

    An `EXCLUSIVE` category of two or more tags has its most probable one.
    """
    ranked: dict[str, list[tuple[float, str]]] = {}
    for probability, tag in sorted(zip(probabilities, tags), key=lambda pair: -pair[0]):
        category, name = split_tag(tag)
        ranked.setdefault(category.lower(), []).append((probability, name))
    chosen = {}
    for category, each in ranked.items():
        chosen[category] = [name for probability, name in each if probability > 0.5]
        if category in EXCLUSIVE and len(each) > 1:
            chosen[category] = [each[0][1]]
    return chosen


def fill(name: str, category: str) -> str:
    """Return a filled blank, with the category if the name is unclear alone: `[high energy]`."""
    clear = category in BLANKS and category != "tempo"
    return f"[{name}]" if clear or category in name.split() else f"[{name} {category}]"


def sentences(
    song: Words, mood: Words, features: Words, vocal: Words, use: Words, rest: Words
) -> Iterator[str]:
    """Yield the sentences that have a filled blank."""
    if song or mood:
        article = "an" if song and song[0][1] in "aeiouAEIOU" else "a"  # song[0][0] is a bracket
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


def join(words: Words) -> str:
    """Join words with commas, and with `and` before the last one."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
