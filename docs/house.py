"""Measure the code: imports between folders, file sizes, types, docstrings and comments.

    python docs/house.py
    python docs/house.py path/to/another/checkout

Tests, the tutorial, benchmarks and these docs are left out. A room is a folder, or a file at the
top. An arrow between rooms is a pair of rooms of which the first imports the second. A back edge is
an import against the order of the rooms (`ORDER`) or of the stages (`STAGES`).
"""

import ast
import io
import statistics
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = 5  # the level of the files at the top that `ORDER` does not name
ORDER = {"support": 0, "hparams": 1, "model": 1, "audio": 2, "tracks": 3, "training": 4}
ORDER |= {"dataset": 6}  # no other file imports its scripts
STAGES = (
    *("data_augment", "feature_extraction", "data_manager", "train_test"),
    *("pretrained", "predict", "retrieve", "visualize", "classic", "compare"),
)


class Module(NamedTuple):
    """A file of the project: its dotted name, its text and its syntax tree."""

    name: str
    text: str
    tree: ast.Module

    @property
    def room(self) -> str:
        """The folder of the file; the name of a file at the top."""
        return self.name.partition(".")[0]

    @property
    def level(self) -> int:
        """The position of the file in the order of imports."""
        return ORDER.get(self.room, SCRIPTS)

    @property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """The tokens of the file, including comments and line breaks."""
        return list(tokenize.generate_tokens(io.StringIO(self.text).readline))

    @property
    def functions(self) -> list[ast.FunctionDef]:
        """All functions and methods, without those inside functions."""
        classes = [node for node in self.tree.body if isinstance(node, ast.ClassDef)]
        nodes = [*self.tree.body, *(node for each in classes for node in each.body)]
        return [node for node in nodes if isinstance(node, ast.FunctionDef)]


def read_modules(root: Path) -> dict[str, Module]:
    """Read the files at the top and in the folders, by dotted name, without `__init__.py`."""
    modules = {}
    for path in (path for room in ("", *ORDER) for path in sorted((root / room).glob("*.py"))):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        text = path.read_text(encoding="utf-8")
        if path.stem != "__init__":
            modules[name] = Module(name, text, ast.parse(text))
    return modules


def find_arrows(modules: dict[str, Module]) -> set[tuple[str, str]]:
    """Return the imports between files, including those in functions: (importing, imported)."""
    arrows = set()
    for module in modules.values():
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            arrows |= {(module.name, name) for name in names if name in modules}
    return arrows


def is_back_edge(arrow: tuple[str, str], modules: dict[str, Module]) -> bool:
    """Whether an import runs against the order of rooms, or to a script of a later stage."""
    start, end = (modules[name] for name in arrow)
    if start.level != end.level or start.level != SCRIPTS:
        return start.level < end.level
    later = end.name in STAGES and start.name in STAGES
    return later and STAGES.index(end.name) > STAGES.index(start.name)


def find_circles(arrows: set[tuple[str, str]]) -> list[str]:
    """Return the files that import themselves, directly or not."""
    reach = arrows  # grows to the transitive closure: (importing, imported directly or not)
    while further := {(a, d) for a, b in reach for c, d in arrows if b == c} - reach:
        reach = reach | further
    return sorted({a for a, b in reach if a == b})


def body_lines(function: ast.FunctionDef) -> int:
    """Return the number of lines in a function's body, without its docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def code_lines(function: ast.FunctionDef) -> int:
    """Return the number of lines in a function's signature and body, without its docstring."""
    return function.body[0].lineno - function.lineno + body_lines(function)


def is_typed(function: ast.FunctionDef) -> bool:
    """Whether all parameters and the result of a function are annotated."""
    every = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)]
    typed = [argument.arg in ("self", "cls") or argument.annotation for argument in every]
    return function.returns is not None and all(typed)


def find_small(modules: dict[str, Module]) -> list[str]:
    """Return the functions and methods of four lines or fewer that are used in one place."""
    nodes = [node for module in modules.values() for node in ast.walk(module.tree)]
    uses = Counter(node.id for node in nodes if isinstance(node, ast.Name))
    uses.update(node.attr for node in nodes if isinstance(node, ast.Attribute))
    return [
        f"{module.name}.{node.name}"
        for module in modules.values()
        for node in module.functions
        if body_lines(node) <= 4 and uses[node.name] == 1
    ]


def count_code(module: Module) -> int:
    """Return the number of lines that are not docstring, comment, blank or import."""
    lines: set[int] = set()
    for token in module.tokens:  # one token can span several lines, such as a docstring
        if token.type != tokenize.COMMENT and token.string.strip():
            lines |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(module.tree):
        left_out = isinstance(node, ast.Import | ast.ImportFrom)
        if isinstance(node, ast.Expr):
            left_out = isinstance(node.value, ast.Constant)  # a docstring
        if isinstance(node, ast.stmt) and left_out:
            lines -= {*range(node.lineno, (node.end_lineno or 0) + 1)}
    return len(lines)


def measure(root: Path) -> dict[str, str]:
    """Return the figures of a checkout, as text by what they are."""
    modules = read_modules(root)
    lines = {name: module.text.count("\n") for name, module in modules.items()}
    total, longest = sum(lines.values()), max(lines, key=lambda name: lines[name])
    dataset = sum(n for name, n in lines.items() if name.startswith("dataset."))
    arrows = find_arrows(modules)
    rooms = {(modules[a].room, modules[b].room) for a, b in arrows}
    back = [f"{a}->{b}" for a, b in sorted(arrows) if is_back_edge((a, b), modules)]
    functions = [node for module in modules.values() for node in module.functions]
    sizes = [code_lines(node) for node in functions]
    median = f"{statistics.median(sizes):g}"
    documented = sum(ast.get_docstring(node) is not None for node in functions)
    tokens = [token.type for module in modules.values() for token in module.tokens]
    return {
        "files at the top": f"{sum('.' not in name for name in modules)}",
        "lines": f"{total} ({total - dataset} without dataset/)",
        "lines of code": f"{sum(map(count_code, modules.values()))}",
        "longest file": f"{longest}, {lines[longest]} lines",
        "imports between files": f"{len(arrows)}",
        "arrows between rooms": f"{sum(a != b for a, b in rooms)}",
        "back edges": " ".join(back) or "none",
        "files in circles": " ".join(find_circles(arrows)) or "none",
        "functions": f"{len(sizes)}, median {median} lines, longest {max(sizes)}",
        "functions with types": f"{sum(map(is_typed, functions)) / len(sizes):.1%}",
        "functions with docstrings": f"{documented / len(sizes):.1%}",
        "used once, four lines or fewer": f"{len(find_small(modules))}",
        "comments per 100 lines": f"{100 * tokens.count(tokenize.COMMENT) / total:.1f}",
    }


def main() -> None:
    """Print the figures of this checkout, or of the one named on the command line."""
    for name, value in measure(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT).items():
        print(f"{name:32}{value}")


if __name__ == "__main__":
    main()
