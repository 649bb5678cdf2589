"""What a file is, by its first bytes, and what helps if it is no audio that libsndfile reads."""

import codecs
import re
from pathlib import Path
from typing import BinaryIO, NamedTuple

from audio.containers import file_size, read_at
from audio.mpeg import LARGEST, find_frames, id3_size, is_run
from support.errors import UserError
from support.flags import command_line

HEAD = 1 << 12  # bytes that show what a file is
SEARCH = 1 << 20  # bytes of junk that can be in front of an MP3
COPY = "copy it again from its source, or leave it out"
LEAVE = "leave it out"
CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")  # bytes that are not in text


class Kind(NamedTuple):
    """A kind of file, by its first bytes."""

    pattern: bytes
    name: str
    suffixes: str = ""  # that it usually has
    remedy: str = ""  # if it is no audio


MP3 = Kind(b"", "MP3", ".mp3 .mp2 .mp1 .mpga")
NOTHING = Kind(b"", "empty", "", COPY)
UNKNOWN = Kind(b"", "unknown data", "", COPY)
READ = (  # by libsndfile
    Kind(rb"RIFF....WAVEfmt ....[\x50\x55]\0", "MP3 in WAV", ".wav"),
    Kind(
        rb"RIFF....WAVEfmt ....([\x01\x02\x03\x06\x07\x11\x31\x40]\0|\xfe\xff)",
        "WAV",
        ".wav .wave .bwf",
    ),
    Kind(rb"RIFF....WAVE(?!fmt )|RIFX....WAVE", "WAV", ".wav .wave .bwf"),
    Kind(rb"RF64....WAVE", "RF64", ".rf64 .wav"),
    Kind(rb"riff\x2e\x91\xcf\x11", "W64", ".w64"),
    Kind(rb"FORM....AIF[FC]", "AIFF", ".aiff .aif .aifc"),
    Kind(rb"FORM....(8SVX|16SV)", "SVX", ".svx .8svx"),
    Kind(rb"\.snd|dns\.", "AU", ".au .snd"),
    Kind(rb"caff\0", "CAF", ".caf"),
    Kind(rb"fLaC", "FLAC", ".flac"),
    Kind(rb"OggS.{23,60}?(\x01vorbis|OpusHead|\x7fFLAC|Speex   )", "Ogg", ".ogg .oga .opus .spx"),
    Kind(rb"NIST_1A", "NIST", ".nist .sph"),
    Kind(rb"Creative Voice File", "VOC", ".voc"),
    Kind(rb" paf|fap ", "PAF", ".paf"),
    Kind(rb"PVF1\n", "PVF", ".pvf"),
    Kind(rb"\x64\xa3[\x01-\x04]\0|\0[\x01-\x04]\xa3\x64", "IRCAM", ".ircam .sf"),
    Kind(rb"2BIT", "AVR", ".avr"),
    Kind(rb"Extended Instrument:", "XI", ".xi"),
    Kind(rb"ALawSoundFile\*\*", "WVE", ".wve"),
    Kind(rb"MATLAB 5\.0", "MAT5", ".mat5"),
    Kind(rb"(\0{4}|\0\0\x03\xe8).{16}samplerate", "MAT4", ".mat4"),
    Kind(rb"\xf0\x7e.\x01", "SDS", ".sds"),
    Kind(rb".{8}\0\x02\0\0", "HTK", ".htk"),
    Kind(rb"\x01\x04[ -~]{17}", "MPC2K", ".mpc2k"),
)
CONVERTED = (  # by ffmpeg
    Kind(rb"....(ftyp|moov|mdat|free|skip|wide)", "MP4", ".m4a .m4b .mp4 .3gp .mov"),
    Kind(rb"\xff[\xf0\xf1\xf8\xf9]|ADIF", "AAC", ".aac"),
    Kind(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media", ".wma .wmv .asf"),
    Kind(rb"\x1a\x45\xdf\xa3", "Matroska or WebM", ".mka .mkv .webm"),
    Kind(rb"MAC .[\x0c-\x0f]", "Monkey's Audio", ".ape"),
    Kind(rb"wvpk", "WavPack", ".wv"),
    Kind(rb"MPCK|MP\+[\x07\x17\x27]", "Musepack", ".mpc"),
    Kind(rb"TTA[12]", "True Audio", ".tta"),
    Kind(rb"#!AMR", "AMR", ".amr .awb"),
    Kind(rb"DSD \x1c|FRM8", "DSD", ".dsf .dff"),
    Kind(rb"\x0b\x77", "AC-3", ".ac3"),
    Kind(rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\0|\xff\x1f\0\xe8", "DTS", ".dts"),
    Kind(rb"\.ra\xfd|\.RMF", "RealAudio", ".ra .rm"),
    Kind(rb"RIFF....WAVE", "WAV with a rare codec", ".wav"),
    Kind(rb"OggS", "Ogg with video or a rare codec", ".ogg .ogv"),
    Kind(rb"RIFF....AVI |\0\0\x01[\xb3\xba]|FLV\x01|\x47.{187}\x47", "video", ".avi .mpg .flv .ts"),
)
NO_AUDIO = (
    Kind(
        rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b|BZh\d1A|\xfd7zXZ|.{257}ustar",
        "an archive",
        "",
        "unpack it",
    ),
    Kind(rb"%PDF", "PDF", "", LEAVE),
    Kind(
        rb"\xff\xd8\xff|\x89PNG|GIF8|BM.{4}\0{4}|RIFF....WEBP|II\*\0|MM\0\*", "a picture", "", LEAVE
    ),
    Kind(rb"\x93NUMPY", "a NumPy array", "", LEAVE),
    Kind(rb"MThd", "MIDI (notes without sound)", "", LEAVE),
    Kind(rb"version https://git-lfs", "a Git LFS pointer", "", "run `git lfs pull`"),
)
ZEROS = Kind(b"", "only zeros", "", COPY)
TEXT = (
    Kind(rb"\s*<(!doctype html|html|head)", "HTML", "", "download it again, or leave it out"),
    Kind(rb"#EXTM3U|\[playlist\]|\s*<asx", "a playlist", "", "name its tracks instead"),
    Kind(rb"\s*[{\[]", "JSON", "", LEAVE),
    Kind(rb"", "text", "", LEAVE),
)
READ_SUFFIXES = {suffix for kind in (*READ, MP3) for suffix in kind.suffixes.split()}
OTHER_SUFFIXES = {  # audio that libsndfile does not read; files that have them can be videos
    *(".3gp", ".aac", ".ac3", ".amr", ".ape", ".dff", ".dsf", ".dts", ".m4a", ".m4b", ".mka"),
    *(".mp4", ".mpc", ".ra", ".tta", ".webm", ".wma", ".wv"),
}


def sniff(file: BinaryIO) -> tuple[Kind, int]:
    """Return what a file is, and where that starts: tags and junk can be in front of it."""
    at, head = 0, read_at(file, 0, HEAD)
    while size := id3_size(head):
        at += size
        head = read_at(file, at, HEAD)
    for kind in (*READ, *CONVERTED, *NO_AUDIO):
        if re.match(kind.pattern, head, re.DOTALL):
            return name_codec(kind, file), at
    if at:
        return MP3, 0  # the size in a tag can be wrong
    size = file_size(file)
    if is_run(read_at(file, 0, LARGEST), 0, size):
        return MP3, 0
    if (at := find_frames(read_at(file, 0, SEARCH), 0, size)) >= 0:
        return MP3, at
    if not head.strip(b"\0"):
        return (ZEROS if head else NOTHING), 0
    return name_text(head), 0


def name_codec(kind: Kind, file: BinaryIO) -> Kind:
    """Return a kind with the codec in its name, where a MP4 states one."""
    if kind.name != "MP4":
        return kind
    ends = read_at(file, 0, HEAD) + read_at(file, max(0, file_size(file) - SEARCH), SEARCH)
    names = {b"mp4a": "AAC", b"alac": "ALAC", b"ac-3": "AC-3", b"Opus": "Opus", b"fLaC": "FLAC"}
    found = next((name for code, name in names.items() if code in ends), "")
    return kind._replace(name=f"{found} in MP4") if found else kind


def name_text(head: bytes) -> Kind:
    """Return the kind of text that a file with these first bytes is, or `UNKNOWN`."""
    try:
        codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return UNKNOWN
    if CONTROL.search(head):
        return UNKNOWN
    return next(kind for kind in TEXT if re.match(kind.pattern, head, re.DOTALL | re.IGNORECASE))


def refusal(path: Path, kind: Kind) -> UserError:
    """Return the error for a file that libsndfile does not read: what it is, and what helps."""
    named = path.suffix.lower() in (READ_SUFFIXES | OTHER_SUFFIXES) - {*kind.suffixes.split()}
    what = kind.name + (f", under the name {path.suffix}" if named else "")
    helps = kind.remedy or f"{conversion(path)}, `pip install imageio-ffmpeg` lets it be read"
    reason = f"no audio: {what}" if kind.remedy else f"it is {what}"
    return UserError(f"{path} cannot be read ({reason}): {helps}")


def conversion(path: Path) -> str:
    """Return the command that converts a file."""
    target = path.with_suffix(".flac" if path.suffix.lower() == ".wav" else ".wav")
    names = (f"./{name}" if str(name).startswith("-") else name for name in (path, target))
    source, made = names
    return f"`{command_line('ffmpeg', '-i', source, made)}` converts it"


def conversion_of_all(suffix: str) -> str:
    """Return the command that converts all files of a folder that have a suffix."""
    return f'`for f in *{suffix}; do ffmpeg -i "$f" "${{f%.*}}.wav"; done` converts them'
