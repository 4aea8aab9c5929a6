"""Small changes of C++ source text. find(path, text) lists every mutant of a file; choose(...) takes some of them by a seed.

The text is not parsed. blank(text) replaces what must not be changed (comments, strings, preprocessor lines, asserts, messages of
errors and logs, capacity hints) by spaces of the same length; patterns over the rest find the places. The project's formatting makes
that reliable: a binary operator has a space on both sides, a template bracket or a pointer does not.
"""
import dataclasses
import hashlib
import re


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    line: int           # from 1
    start: int          # characters of the file that are replaced
    end: int
    kind: str
    before: str
    after: str
    text: str           # the line, stripped
    id: str             # the same wherever the line moves in the file

    def apply(self, source):
        assert source[self.start:self.end] == self.before
        return source[:self.start] + self.after + source[self.end:]


def close_of(text, opening):
    """The index of the bracket that closes text[opening], or -1. For blanked text: no strings are in the way."""
    depth = 0
    for i in range(opening, len(text)):
        if text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
            if depth == 0:
                return i
    return -1


_LITERALS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<tag>[^(\s]*)\(.*?\)(?P=tag)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:[^\n]*\\\n)*[^\n]*',
    re.S | re.M)
# Calls whose arguments only end in a text for people, or ask for memory ahead of need.
_MESSAGES = re.compile(
    r'\b(?:static_assert|assert|fmt::format|fmt::print|fmt::format_to|std::format|print|printf|fprintf|[\w.]*log\.(?:info|warning|error|debug)|'
    r'warn|problem|note|reserve|shrink_to_fit|describe|tell_\w+)\s*\(|\bthrow\b|\benum\b[^{;]*\{|\[\[')


def _spaces(text):
    return re.sub(r"[^\n]", " ", text)


def blank(text):
    text = _LITERALS.sub(lambda m: _spaces(m.group()), text)
    out, at = [], 0
    while True:
        m = _MESSAGES.search(text, at)
        if not m:
            return "".join(out) + text[at:]
        if m.group() == "throw":
            end = text.find(";", m.end())
        else:
            end = close_of(text, m.end() - 1)
        end = len(text) if end < 0 else end
        out.append(text[at:m.start()] + _spaces(text[m.start():end]))
        at = end


_SWAPS = [
    ("comparison", r"(?<= )(==|!=|<=|>=|<|>)(?= )",
     {"==": ["!="], "!=": ["=="], "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"]}),
    ("arithmetic", r"(?<=[\w)\]] )([-+*/%])(?= )", {"+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"]}),
    ("assignment", r"(?<= )([-+*/]=)(?= )", {"+=": ["-="], "-=": ["+="], "*=": ["/="], "/=": ["*="]}),
    ("logic", r"(?<= )(&&|\|\|)(?= )", {"&&": ["||"], "||": ["&&"]}),
    ("bits", r"(?<=[\w)] )([&|])(?= [\w(])", {"&": ["|"], "|": ["&"]}),
    ("truth", r"\b(true|false)\b", {"true": ["false"], "false": ["true"]}),
    ("function", r"\b(?:std::|fm::)?(min|max|sin|cos|floor|ceil|minimum|maximum)(?=\()",
     {"min": ["max"], "max": ["min"], "sin": ["cos"], "cos": ["sin"], "floor": ["ceil"], "ceil": ["floor"],
      "minimum": ["maximum"], "maximum": ["minimum"]}),
    ("jump", r"\b(continue|break)(?=;)", {"continue": ["break"], "break": ["continue"]}),
    ("negation", r"(?<=[(\s])(!)(?=[\w(])", {"!": [""]}),
    ("sign", r"(?<=[(,=?:] )(-)(?=[\w(])|(?<=\()(-)(?=[\w(])|(?<=return )(-)(?=[\w(])", {"-": [""]}),
    ("step", r"(?<![-+])(\+\+|--)(?=\w)", {"++": ["--"], "--": ["++"]}),
]
_NUMBER = re.compile(r"(?<![\w.'])(\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d+)(f|u|L|LL|ULL)?(?![\w.'])")
_CONDITION = re.compile(r"\bif (?:constexpr )?\(")
_ARGUMENTS = re.compile(r"\b([a-z]\w*)\(([a-z]\w*), ([a-z]\w*)\)")
_STATEMENT = re.compile(r"^(?:\*|\+\+|--)?[A-Za-z_][\w:]*(?:\([^;]*?\)|\[[^;]*?\]|\.|->|[\w:])*(?: (?:[-+*/|&^]|<<|>>)?= [^;]*|\([^;]*\))?;$")
_NOT_DROPPED = re.compile(r"^(?:return|throw|using|namespace|case|default|break|continue|goto|delete|friend|typedef|template|public|private|co_)\b|= (?:default|delete|0);$")


def _other_numbers(number):
    if re.fullmatch(r"\d+", number):
        n = int(number)
        return [str(n + 1)] + (["0"] if n == 1 else [])
    return ["1.0"] if float(number) == 0 else [repr(2 * float(number))]


def _changes(blanked):
    """(start, end, kind, replacement) of every change."""
    for kind, pattern, others in _SWAPS:
        for m in re.finditer(pattern, blanked):
            group = next(g for g in range(1, m.re.groups + 1) if m.group(g) is not None)
            for other in others[m.group(group)]:
                yield m.start(group), m.end(group), kind, other
    for m in _NUMBER.finditer(blanked):
        for other in _other_numbers(m.group(1)):
            yield m.start(1), m.end(1), "constant", other
    for m in _CONDITION.finditer(blanked):
        end = close_of(blanked, m.end() - 1)
        if end > 0 and ";" not in blanked[m.end():end]:
            yield m.end(), end, "condition", None
    for m in _ARGUMENTS.finditer(blanked):
        if m.group(1) not in ("if", "for", "while", "switch", "return", "sizeof") and m.group(2) != m.group(3):
            yield m.start(2), m.end(3), "arguments", f"{m.group(3)}, {m.group(2)}"
    for m in re.finditer(r"^[^\n]*$", blanked, re.M):
        statement = m.group().strip()
        if _STATEMENT.match(statement) and not _NOT_DROPPED.search(statement) and _balanced(statement):
            start = m.start() + len(m.group()) - len(m.group().lstrip())
            yield start, start + len(statement), "statement", ";"


def _balanced(statement):
    return all(statement.count(a) == statement.count(b) for a, b in ("()", "[]", "{}"))


def find(path, text):
    """Every mutant of one file."""
    blanked, seen, out = blank(text), {}, []
    for start, end, kind, after in sorted(_changes(blanked), key=lambda c: (c[0], c[1], c[2], c[3] or "")):
        before = text[start:end]
        after = f"!({before})" if after is None else after
        first = text.rfind("\n", 0, start) + 1
        last = text.find("\n", start)
        line = text[first:last if last >= 0 else len(text)]
        key = (path, line.strip(), start - first - (len(line) - len(line.lstrip())), before, kind, after)
        seen[key] = seen.get(key, 0) + 1
        name = hashlib.sha256(repr((key, seen[key])).encode()).hexdigest()[:12]
        out.append(Mutant(path, text.count("\n", 0, start) + 1, start, end, kind, before, after, line.strip(), name))
    return out


def choose(mutants, seed, count):
    """`count` of them, by a hash of the seed and of each mutant alone: a change elsewhere leaves the rest of the choice as it was."""
    return sorted(mutants, key=lambda m: hashlib.sha256(f"{seed} {m.id}".encode()).digest())[:count]
