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
# Categories for well-known tags that come without one: those of the Million Song Dataset and of
# MagnaTagATune, and the genres of GTZAN. After a colon stands how the sentence writes a tag.
KNOWN = {
    "song": """
        rock, pop, alternative, indie, electronic, dance, alternative rock, jazz, metal, disco,
        classic rock, soul, indie rock, electronica, folk, punk, blues, hard rock, ambient, country,
        experimental, hip-hop, hiphop, funk, electro, heavy metal, progressive rock, rnb, indie pop,
        house, techno, classical, classic, opera, new age, indian, reggae, acoustic, instrumental,
        easy listening, oldies, 60s, 70s, 80s, 90s, 00s, fast, slow
    """,
    "mood": """
        beautiful, mellow, chill, chillout, sad, happy, sexy, catchy, quiet, soft, weird
    """,
    "usage": "party:at a party",
    "instrument": """
        guitar, strings, drums, piano, violin, synth, harpsichord, flute, sitar, harp, cello, beat,
        beats:beat, choir, choral:choir, vocal:vocals, vocals, voice:vocals, singing:vocals,
        no vocal:no vocals, no vocals, no voice:no vocals
    """,
    "vocal": """
        female, female vocal:female, female vocals:female, female vocalist:female,
        female vocalists:female, female voice:female, woman:female, male, male vocal:male,
        male vocals:male, male vocalist:male, male vocalists:male, male voice:male, man:male
    """,
}
PLAIN = {  # the category and the name of each known tag
    tag.strip().partition(":")[0]: (category, tag.strip().rpartition(":")[2])
    for category, tags in KNOWN.items()
    for tag in tags.split(",")
}


def describe_tags(
    probabilities: Sequence[float] | NDArray, tags: Sequence[str], threshold: float = 0.5
) -> str:
    """Fill the tutorial's sentence from the probabilities (tags,) of tags.

    "This is a [] song that is []. It features []. It features [] vocal. It is a song with [] that
    you might like to listen to while []." Parts without a tag are left out. Tags without a category
    are listed at the end, except those in `KNOWN`.

    Examples
    --------
    >>> describe_tags([0.9, 0.8, 0.2], ["mood:happy", "instrument:piano", "vocal:female"])
    'This is a song that is [happy]. It features [piano].'
    """
    chosen = choose_names(probabilities, tags, threshold)
    plain = ", ".join(chosen.pop("", []))
    blanks: dict[str, Words] = {blank: [] for blank in (*BLANKS.values(), "rest")}
    for category, names in chosen.items():
        blanks[BLANKS.get(category, "rest")] += [fill(name, category) for name in names]
    text = " ".join(sentences(**blanks))
    if text and plain:
        return f"{text} Tags: {plain}."
    return text or plain or f"no tag has more than {100 * threshold:g} %"


def choose_names(
    probabilities: Sequence[float] | NDArray, tags: Sequence[str], threshold: float
) -> dict[str, list[str]]:
    """Return the tags above a threshold by category, the most probable first.

    An `EXCLUSIVE` category of two or more tags has its most probable one.
    """
    ranked: dict[str, list[tuple[float, str]]] = {}
    for probability, tag in sorted(zip(probabilities, tags), key=lambda pair: -pair[0]):
        category, name = PLAIN.get(tag.lower()) or split_tag(tag)
        ranked.setdefault(category.lower(), []).append((probability, name))
    chosen = {}
    for category, each in ranked.items():
        likely = (name for probability, name in each if probability > threshold)
        chosen[category] = list(dict.fromkeys(likely))  # two tags can have one name
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
        article = "an" if song and song[0][1] in "aeiouAEIOU8" else "a"  # song[0][0] is a bracket
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
