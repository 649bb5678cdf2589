"""The material of the demo's genres: instruments, sections of a song, and a `Style` per genre.

Patterns have one character per sixteenth, 16 per bar; longer ones continue in the next bar. A dot
is a rest, `X` an accent, `-` a ghost note, `w` two strokes. A drum pattern has one line per drum.
Chord tones are numbered from the root along the scale: 1 is the root, 3 the third, 8 the octave.
Chords are Roman numerals in the key: upper case for major, lower case for minor.
"""

from typing import Any, NamedTuple


class Sound(NamedTuple):
    """An instrument; harmonic k has the level k ** -rolloff."""

    rolloff: float
    attack: float  # s
    decay: float = 0  # s in which the first harmonics fall to 1/e; 0: sustained
    damping: float = 0  # how much faster the harmonics above the third decay
    vibrato: float = 0  # depth, semitones
    slide: float = 0  # semitones between a note's start and its pitch
    players: int = 1  # in unison, slightly out of tune
    drive: float = 0  # distortion
    power: bool = False  # a power chord: fifth and octave are added before the distortion
    cutoff: float = 8000  # Hz above which harmonics fall by 12 dB per octave
    formant: float = 0  # Hz around which harmonics are boosted; 0: no boost


SOUNDS = {
    "piano": Sound(1.3, 0.004, 1.2, 2),
    "epiano": Sound(2.2, 0.006, 1.6, 4, formant=700),
    "guitar": Sound(0.9, 0.003, 0.5, 2),
    "clean": Sound(1.2, 0.003, 0.7, 1.5, formant=1800),
    "banjo": Sound(0.5, 0.002, 0.15, 1, formant=1500),
    "steel": Sound(1.1, 0.03, 1.5, 0.5, vibrato=0.15, slide=-2),
    "strings": Sound(1.0, 0.12, vibrato=0.1, players=3, cutoff=5000),
    "fiddle": Sound(0.8, 0.05, vibrato=0.15, slide=-1, formant=2500),
    "cello": Sound(1.0, 0.08, vibrato=0.1, players=2, cutoff=2500),
    "flute": Sound(2.4, 0.06, vibrato=0.12),
    "sax": Sound(0.9, 0.03, vibrato=0.12, slide=-0.5, formant=1100),
    "brass": Sound(0.7, 0.04, vibrato=0.05, players=2, formant=1400, cutoff=5000),
    "voice": Sound(1.1, 0.06, vibrato=0.25, slide=-1, formant=750, cutoff=3500),
    "organ": Sound(1.5, 0.008, vibrato=0.08),
    "synth": Sound(0.8, 0.01, 0.6, 1, players=2),
    "pad": Sound(1.3, 0.2, players=3, cutoff=3000),
    "power": Sound(1.4, 0.003, 3.0, 0.5, drive=12, power=True, cutoff=4000, formant=1800),
    "overdrive": Sound(1.3, 0.01, vibrato=0.2, slide=-0.5, drive=8, cutoff=4000, formant=1800),
    "upright": Sound(1.6, 0.008, 0.5, 3, cutoff=1500),
    "electric": Sound(1.2, 0.005, 0.8, 2, cutoff=2500),
    "sub": Sound(2.6, 0.006, 1.0, slide=5),
    "pick": Sound(1.2, 0.003, 0.8, 1, drive=4, cutoff=3000),
}


class Part(NamedTuple):
    """The choices for one player of a genre; in an artist's part, the chosen sound and pattern.

    A pattern has chords (x), chord tones (1 to 9), muted roots (m), the semitone (b) and the
    tritone (t) above the root, and leading notes to the next bar's root (a). In a lead's pattern,
    each character is a note of the tune.
    """

    sounds: Any  # names in `SOUNDS`, or one name
    patterns: Any
    level: float
    low: int = 0  # lowest MIDI pitch
    voicing: str = "135"  # tones of a chord
    hold: int = 16  # longest note in sixteenths
    cutoff: float = 20000  # Hz: low-pass of an old sampler
    echo: float = 0  # level of the echo
    pump: float = 0  # how far the level drops on each beat


class Style(NamedTuple):
    """The choices for a genre."""

    tempo: tuple  # beats per minute, lowest and highest
    forms: tuple  # sections of a song, letters of `SECTIONS`
    progressions: dict  # by mode: chords, one per bar
    drums: Part
    bass: Part
    comp: Part
    color: Part
    lead: Part
    fills: tuple = ()  # drum patterns that end a section
    beats: tuple = (4,)  # per bar
    swing: tuple = (0.5, 4)  # when the second half of a unit starts; sixteenths per unit
    variety: float = 0.25  # probability that a bar of the tune differs from the last one
    chromatic: float = 0  # probability that a note leads to the next one by a semitone
    dynamics: float = 0  # dB by which a section swells or fades
    rubato: float = 0  # relative tempo change between bars


SECTIONS: dict[str, tuple[int, dict[str, float]]] = {  # bars, and the level of each part
    "i": (2, {"comp": 1, "color": 1}),
    "d": (2, {"drums": 1, "bass": 1}),
    "g": (4, {"drums": 1, "bass": 1, "comp": 1, "color": 0.8}),
    "v": (4, {"drums": 0.9, "bass": 1, "comp": 0.8, "lead": 1}),
    "c": (4, {"drums": 1.1, "bass": 1.1, "comp": 1, "color": 1, "lead": 1.2}),
}
TOMS = "t:........xxx..... u:...........xxxXX"
ROLL = "s:........-x-xxxwX"
PICKUP = "s:............x-xX"
STYLES = {
    "classical": Style(
        (60, 140), ("vcvc", "igvcc", "vvcg", "cgvc"),
        {"major": ("I IV V I", "I ii V I", "I vi IV V", "I V vi V"),
         "minor": ("i iv V i", "i VI iv V", "i ii V i")},
        Part(("drums",), ("",), 0),
        Part(("cello", "upright", "piano"),
             ("1...............", "1...5...8...5...", "1.......3......."), 0.6, 36),
        Part(("piano", "strings"),
             ("1.5.3.5.1.5.3.5.", "....x...x...x...", "1.3.5.8.5.3.5.3.", "x.......x......."),
             0.6, 52),
        Part(("strings", "flute"), ("x...............", "5.......3.......", "x.......x......."),
             0.5, 58),
        Part(("strings", "flute", "piano", "fiddle"),
             ("x...x...x.x.x...x.......x.......", "x.....x.x...x...x...x...x.......",
              "x.x.x.x.x...x...x.x.x.x.x......."), 0.8, 62),
        beats=(3, 4), dynamics=10, rubato=0.08,
    ),
    "country": Style(
        (75, 150), ("ivcgc", "gvcvc", "vcgvc"),
        {"major": ("I IV V I", "I I IV V", "I V IV I", "I IV I V")},
        Part(("drums",), (
            "k:x.......x....... s:--X---X---X---X-",
            "k:x.......x....... s:....X.......X... h:x.x.x.x.x.x.x.x.",
            "k:x.......x...x... s:--x-X---x---X-x-"), 0.6),
        Part(("upright", "electric"), ("1.......5.......", "1.......5.......1.......5...6.7.",
             "1...5...1...5..."), 0.7, 33),
        Part(("guitar", "clean"), ("....X..x....X..x", "....X.x.....X.x.", "..x...X...x...X."),
             0.9, 52, hold=3),
        Part(("banjo", "guitar", "clean"), ("1.3.5.8.3.5.8.5.", "1538153815381538"), 0.7, 57),
        Part(("fiddle", "steel", "voice", "overdrive"),
             ("x.x.x...x.x.x...x...x.x.x.......", "..x.x.x.x...x.....x.x.x.x.......",
              "x..x..x.x.......x..x..x.x......."), 0.7, 64),
        fills=(ROLL, PICKUP), swing=(0.54, 4),
    ),
    "disco": Style(
        (95, 140), ("dgvcc", "gvcgc", "vcdgc"),
        {"minor": ("i iv VII III", "i VII VI VII", "i i iv VII"),
         "major": ("I vi ii V", "I iii ii V")},
        Part(("drums",), (
            "k:X...X...X...X... s:....x.......x... o:..X...X...X...X.",
            "k:X...X...X...X... c:....X.......X... o:..x...x...x...x. h:x-.-x-.-x-.-x-.-",
            "k:X...X...X...X... s:....x.......x..- o:..X...X...X...X. h:x...x...x...x..."), 0.9),
        Part(("electric", "pick"), ("1.8.1.8.1.8.1.8.", "1.81.181.1.8157.", "1..81.8.1..85.8."),
             0.8, 31, hold=2),
        Part(("clean", "epiano", "guitar"), ("x-x-.-x--.x-.-xx", "..x...x...x...x.",
             "x..x..x...x.x..."), 0.9, 57, "1357", hold=1),
        Part(("strings", "brass"), ("X..X..x.................12345678",
             "x...............X.X.....X.......", "8.......7.......5.......12345678"), 0.8, 65),
        Part(("strings", "voice", "synth"), ("x..x..x...x.....x..x..x.........",
             "x.x.x.x.........x.x...x...x.....", "....x.x.x.....x.x..............."), 0.6, 67),
        fills=(TOMS, ROLL, "o:..............X. c:........x.x.xxxx"),
    ),
    "hiphop": Style(
        (70, 115), ("dgvgv", "gvgdv", "igvvg"),
        {"minor": ("i VI i VI", "i iv i iv", "i i i i", "i VII i VI")},
        Part(("drums",), (
            "k:X.....x...x.....X..x......x..... s:....X.......X.......X.......X..- "
            "h:x.x.x.x.x.x.x.xxx.x.x.x.x.x.x.x.",
            "k:X..x......x..x.. s:....X.......X... h:x.xxx.x.x.xxx.x.",
            "b:X.....X...x.....X.........X..x.. c:........X...............X....... "
            "h:x.x.x.x.x.x.wwxxx.x.x.w.x.x.x.ww"), 1.1),
        Part(("sub", "electric"), ("1.....1...1.....3.....3.........", "1..1......5..7..",
             "1.....1...............1...3....."), 1.3, 28),
        Part(("epiano", "piano", "pad", "strings"), ("x.....x.........x.........x.....",
             "x..............x........x.......", "x...............x..............."),
             0.6, 52, "1357", cutoff=1500),
        Part(("piano", "flute", "brass", "voice"), ("8..7..5...3.............5...3...",
             "5.....8...7.....5...............", "..1.3.5.......8................."), 0.5, 60,
             cutoff=2500, echo=0.3),
        Part(("synth", "voice", "flute"), ("x..x..x.x.......x..x....x.......",
             "..x.x..x....x.....x.x..x........"), 0.4, 60, echo=0.3),
        fills=("s:...........x..xx", "k:........x....... h:........x.x.xxww"),
        swing=(0.6, 2), variety=0.1,
    ),
    "jazz": Style(
        (80, 180), ("cvvcv", "ivvcv", "gvvcg"),
        {"major": ("ii V I I", "iii VI ii V", "I VI ii V", "ii V I VI"),
         "minor": ("ii V i i", "i VI ii V", "i iv ii V")},
        Part(("drums",), (
            "r:x...X.x.x...X.x. h:....x.......x... k:-...-...-...-...",
            "r:x...X.x.x...X.x.x...X.x.x...X.x. h:....x.......x.......x.......x... "
            "s:......-.......x.....-.........-.",
            "r:x...X...x...X.x. h:....x.......x... s:..........-....."), 0.8),
        Part(("upright",), ("1...3...5...a...", "1...2...3...a...8...7...5...a...",
             "1...5...3...a...1...3...2...a..."), 0.9, 31),
        Part(("piano", "clean", "epiano"), ("x.....x...............x.....x...",
             "..x.......x...........x.......x.", "......x.......x.x.....x........."),
             0.6, 52, "3579", hold=3),
        Part(("brass", "organ", "strings"), ("............x.x.", "x...............",
             "......X.......X."), 0.4, 57, "379", hold=6),
        Part(("sax", "brass", "piano", "flute"), ("x.x.x.x.x.x.x.....x.x.x.x.x.x.x.",
             "..x.x.x.x...x.x.x.x...x.........", "x...x.x...x.x.x...x.x.x.x.......",
             "....x.x.x.x.x.x.x.x.x.x.x......."), 0.8, 62),
        fills=("s:......x...x...x.", "t:........x.x..... s:............x.x."),
        beats=(4, 4, 3), swing=(0.66, 4), variety=0.8, chromatic=0.5, dynamics=2,
    ),
    "metal": Style(
        (85, 175), ("igvcg", "gvcgc", "dgvgc"),
        {"minor": ("i i VI VII", "i bII i VII", "i VI bII i", "i i bII bII")},
        Part(("drums",), (
            "d:xxxxxxxxxxxxxxxx s:....X.......X... r:X...X...X...X...",
            "d:x.xxx.xxx.xxx.xx s:....X.......X... z:x.......x.......",
            "d:x.x.x.x.x.x.x.x. s:..X...X...X...X. h:x.x.x.x.x.x.x.x.",
            "d:x...xx..x...xxxx s:....X.......X... o:x...x...x...x..."), 0.8),
        Part(("pick",), ("m.mm1.mmm.mmb.1.", "1.mmmmmm1.mmt.b.", "1111111111111111",
             "1.......1...b..."), 0.8, 28),
        Part(("power",), ("m.mm1.mmm.mmb.1.", "1.mmmmmm1.mmt.b.", "1111111111111111",
             "1.......1...b..."), 1.3, 38),
        Part(("overdrive", "synth"), ("1...............", "5.......3.......", "1111111133333333"),
             0.4, 57),
        Part(("overdrive",), ("xxxxxxxxxxxxxxxxx...x...x.......",
             "x.......x.x.x...x.......x.......", "x.xxx.xxx.x.x...x.xxx.xxx......."), 0.6, 64),
        fills=(TOMS, "s:x.x.xxxx........ t:........xxxx.... u:............xxxx d:xxxxxxxxxxxxxxxx"),
        chromatic=0.2,
    ),
    "pop": Style(
        (80, 135), ("ivcvc", "gvcgc", "vcvcc"),
        {"major": ("I V vi IV", "vi IV I V", "I vi IV V", "IV I V vi"),
         "minor": ("i VI III VII", "VI VII i i")},
        Part(("drums",), (
            "k:X.......X.x..... s:....X.......X... h:x.x.x.x.x.x.x.x.",
            "k:X...X...X...X... c:....X.......X... h:..x...x...x...x.",
            "k:X..x..X...x..... s:....X.......X... c:....x.......x... h:xxxxxxxxxxxxxxxx"), 0.8),
        Part(("electric", "sub", "pick"), ("1.1.1.1.1.1.1.1.", "1..1..1.1.......",
             "1.......1.....5."), 0.7, 31),
        Part(("piano", "guitar", "synth", "clean"), ("x...x...x...x...", "x..x..x.x..x..x.",
             "1.5.8.5.3.5.8.5.", "x.x-x-xxx.x-x-xx"), 0.9, 55),
        Part(("pad", "strings", "power", "organ"), ("x...............", "x.......x......."), 0.7,
             52, pump=0.7),
        Part(("voice", "synth", "overdrive"), ("x.x.x..x..x.....x.x.x..x........",
             "..x.x.x.x...x.....x.x.x.x.......", "x...x.x.x...x...x...x.x........."), 0.9, 64),
        fills=(ROLL, TOMS, PICKUP), variety=0.1,
    ),
    "reggae": Style(
        (65, 110), ("dvgvc", "gvdvg", "ivcdg"),
        {"major": ("I IV I V", "I ii I ii", "I IV V IV", "I V vi IV"),
         "minor": ("i iv i iv", "i VII i VII", "i iv VII i")},
        Part(("drums",), (
            "k:........X....... i:........X....... h:x.X.x.X.x.X.x.X.",
            "k:....X.......X... i:....X.......X... h:x-x.x-x.x-x.x-x.",
            "k:X...X...X...X... i:........X....... h:x.X.x.X.x.X.x.XX"), 0.7, echo=0.5),
        Part(("sub", "electric"), ("1..1..3.5.......1..5..3.1.......",
             "....1.3.5.......1..1....5.3.....", "1.....5...3.1..............5.8.."),
             1.4, 28, hold=3),
        Part(("clean", "organ", "piano", "guitar"), ("..X...X...X...X.", "..Xx..Xx..Xx..Xx"),
             1.0, 57, hold=1, echo=0.15),
        Part(("organ", "clean", "brass"), (".-x-.-x-.-x-.-x-", "-.x.-.x.-.x.-.x.",
             "........X.X....................."), 0.5, 52, hold=1, echo=0.3),
        Part(("voice", "sax", "organ", "brass"), ("..x.x...x.......x..x..x.........",
             "x..x..x.....x...x...............", "....x.x.x.......x.x.x..........."), 0.6, 60,
             echo=0.35),
        fills=("i:..........x..xX.", "t:........x..x.... u:.............xX.", "s:X.....xxx...x..."),
        swing=(0.56, 4),
    ),
}  # fmt: skip
