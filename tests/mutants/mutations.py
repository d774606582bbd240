"""What may be changed at one place of a module, so that a test should notice: read from its syntax tree."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LONGEST = 110
"""Characters of a line of code that are shown, and that a survivor is known by."""

OTHER = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
}  # fmt: skip
"""Comparisons: the boundary moved, and the opposite."""

NO_LOCK = "no lock"

UNHEARD = {"log", "crash_point"}
"""What is called for people and for the fault campaign: nothing rests on it."""


@dataclass(frozen=True)
class Mutant:
    """One change: the bytes `start` to `end` of a module give way to `text`."""

    module: str
    line: int
    function: str
    in_function: bool
    """Not read when the module is imported."""
    before: str
    after: str
    start: int
    end: int
    text: str
    place: str
    """Among all mutants, whatever else the module says: a sample changes little when the code does."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.function, self.before, self.after

    def __str__(self) -> str:
        return f"{self.module}:{self.line} {self.function}: {self.before} -> {self.after}"

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.text.encode() + source[self.end :]


def mutants(root: Path, module: str, seed: int) -> list[Mutant]:
    """Every mutant of a module, by its place in it."""
    source = (root / module).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found, seen = [], Counter[tuple[str, ...]]()
    for (function, runs), node, new, before, after in _walk(
        ast.parse(source), ("", False), enums(root)
    ):
        said = (module, function, _short(before), _short(after))
        seen[said] += 1
        place = hashlib.sha256(repr((seed, *said, seen[said])).encode()).hexdigest()
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        found.append(Mutant(module, node.lineno, function, runs, *said[2:], start, end, new, place))
    return found


@cache
def enums(root: Path) -> dict[str, list[str]]:
    """The enums of the rules, and their members."""
    return {
        node.name: [
            one.targets[0].id
            for one in node.body
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name)
        ]
        for file in sorted((root / "models/rules").glob("*.py"))
        for node in ast.parse(file.read_bytes()).body
        if isinstance(node, ast.ClassDef) and "StrEnum" in map(ast.unparse, node.bases)
    }


def _walk(node: ast.AST, where: tuple[str, bool], known: dict[str, list[str]]) -> Iterator[tuple]:
    """In which class or function (and whether it is one), node, what takes its place, and both as people read them."""
    pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
    named_only = {key for key, value in pairs if _words(value)}
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue  # (places inside f-strings are not known exactly)
            if child in named_only or _words(child):
                continue
            within = where
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                runs = where[1] or not isinstance(child, ast.ClassDef)
                within = f"{where[0]}.{child.name}".lstrip("."), runs
            elif not where[0]:
                within = "module", False
            yield from ((within, *change) for change in _changes(child, known))
            yield from _walk(child, within, known)


def _words(node: ast.AST) -> bool:
    """Whether it is there for people: what they read, and what is logged."""
    match node:
        case ast.Call(func=ast.Name("Text" | "t")):
            return True
        case ast.Expr(value=ast.Call(func=called)):
            return ast.unparse(called).partition(".")[0] in UNHEARD
    return False


def _changes(node: ast.AST, known: dict[str, list[str]]) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Within an expression first, then whole terms and statements."""
    match node:
        case ast.Compare():
            for n, op in enumerate(node.ops):
                for other in OTHER[type(op)]:
                    yield _with(node, ops=[*node.ops[:n], other(), *node.ops[n + 1 :]])
        case ast.BoolOp(op=op):
            yield _with(node, op=ast.And() if isinstance(op, ast.Or) else ast.Or())
        case ast.UnaryOp(op=ast.Not()):
            yield _instead(node, node.operand)
        case ast.Constant(value=int()) if not isinstance(node.value, bool):
            yield _with(node, value=node.value + 1)
        case ast.Attribute(value=ast.Name(enum), attr=member) if member in known.get(enum, ()):
            members = known[enum]
            if len(members) > 1:
                yield _with(node, attr=members[members.index(member) - 1])
        case _:
            yield from _dropped(node)


def _dropped(node: ast.AST) -> Iterator[tuple[ast.AST, str, str, str]]:
    match node:
        case ast.Call(func=ast.Attribute(value=asked, attr="with_for_update")):
            yield node, ast.unparse(asked), ast.unparse(node), NO_LOCK
        case ast.Call(func=ast.Attribute(attr="where") | ast.Name("and_")) if len(node.args) > 1:
            for n, term in enumerate(node.args):
                new = _with(node, args=[*node.args[:n], *node.args[n + 1 :]])[1]
                yield node, new, ast.unparse(term), "term dropped"
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield node, "pass", ast.unparse(node), "call dropped"
        case ast.If(
            body=[*_, ast.Raise() | ast.Return() | ast.Continue() | ast.Break()], orelse=[]
        ):
            test = ast.unparse(node.test)
            yield node.test, f"(({test}) and False)", f"if {test}: {ast.unparse(node.body[-1])}", "guard dropped"  # fmt: skip


def _with(node: ast.AST, **changed) -> tuple[ast.AST, str, str, str]:
    new = copy.copy(node)
    for name, value in changed.items():
        setattr(new, name, value)
    return _instead(node, new)


def _instead(node: ast.AST, new: ast.AST) -> tuple[ast.AST, str, str, str]:
    text = ast.unparse(new)
    return node, f"({text})", ast.unparse(node), text


def _short(code: str) -> str:
    line = " ".join(code.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
