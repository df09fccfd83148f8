"""Just enough of C++ to find its functions: comments and literals blanked, braces matched, heads classified."""

import re

SUFFIXES = (".cc", ".h", ".hpp", ".c")
_RAW = re.compile(r'R"([^()\\ ]{0,16})\(.*?\)\1"', re.S)
_TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S)
_CONTAINER = re.compile(r"^(?:export\s+)?(?:typedef\s+)?(?:inline\s+)?(namespace|class|struct|union|enum|extern)\b")
_CONTROL = re.compile(r"^(?:\}?\s*else\b.*|(?:if|for|while|switch|catch|do|try|return|case|default)\b.*)$", re.S)
_LAMBDA = re.compile(r"\[[^\[\]]*\]\s*(?:\([^{}]*\))?\s*(?:mutable|noexcept)?\s*(?:->\s*[\w:<>,&* ]+)?$")
_TEMPLATE = re.compile(r"^template\s*<")


def blank(text):
    """`text` with comments and the insides of literals replaced by blanks; lines and columns stay."""

    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group(0))

    def literal(match):
        body = match.group(0)
        return body[0] + spaces(match)[1:-1] + body[-1] if body[0] in "\"'" else spaces(match)

    return _TOKEN.sub(literal, _RAW.sub(spaces, text))


def _without_template(head):
    while _TEMPLATE.match(head):
        depth, at = 0, head.index("<")
        for at in range(at, len(head)):
            depth += {"<": 1, ">": -1}.get(head[at], 0)
            if depth == 0:
                break
        head = head[at + 1 :].lstrip()
    return head


def is_function(head):
    """Whether a brace after `head` (the text since the last ; { or }) opens a function's body."""
    head = _without_template(re.sub(r"\[\[.*?\]\]|^\s*(?:public|private|protected)\s*:", " ", head, flags=re.S).strip())
    if _LAMBDA.search(head):
        return True
    if _CONTAINER.match(head) or _CONTROL.match(head) or "(" not in head or head.endswith(("=", ",", "(")):
        return False
    return head.count("(") == head.count(")")


def functions(text):
    """(first line, last line, head) of each function and lambda, inner ones included; lines count from 1."""
    clean = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)), blank(text), flags=re.M)
    found, stack, start = [], [], 0
    for match in re.finditer(r"[;{}]", clean):
        at = match.start()
        if match.group(0) == "{":
            head = clean[start:at]
            first = clean.count("\n", 0, start + len(head) - len(head.lstrip())) + 1
            stack.append((is_function(head), first, " ".join(head.split())))
        elif match.group(0) == "}" and stack:
            function, first, head = stack.pop()
            if function:
                found.append((first, clean.count("\n", 0, at) + 1, head))
        start = at + 1
    return found
