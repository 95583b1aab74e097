"""Names that a stranger may give to classes, files and data sets: markup, code, formulas and control characters."""

SCRIPT = "window.__owned = 1"
TAGS = (
    f"<script>{SCRIPT}</script>",
    f'"><img src=x onerror="{SCRIPT}">',
    f"'><svg onload='{SCRIPT}'>",
    f"</title></style></svg><script>{SCRIPT}</script>",
    f"--><script>{SCRIPT}</script>",
    f"&lt;script&gt;{SCRIPT}&lt;/script&gt;",
)
LINKS = (
    f"](javascript:{SCRIPT})",
    f"[a](javascript:{SCRIPT})",
    "![a](https://example.invalid/seen.png)",
    f"<javascript:{SCRIPT}>",
    f"[a]: javascript:{SCRIPT}",
)
MARKS = (
    "`code` ``` ~~~",
    "a | b *c* _d_ ~~e~~ $f$ $$g$$ \\",
    "# title",
    "- one",
    "1. one",
    "--- ===",
    "one\n\n```\n\n---\nthree: x",
)
TEMPLATES = ("{{ 7 * 7 }} {% raw %} {# no #}", f"${{{SCRIPT}}} {{{{{{{SCRIPT}}}}}}} {{{{#if true}}}}x{{{{/if}}}}")
YAML = ("a: [b, *c] & d #e", "!!python/object:os.system", "null", "'\"", "? a", "%TAG", "@b")
CONTROLS = ("\x1b[31mred\x1b[0m\x07", "\x9b31m", "a\rb", "\u202egnp.exe", "\u2066abc\u202d", "a\x00b")
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1+1", "=cmd|' /C calc'!A0")
NAMES = TAGS + LINKS + MARKS + TEMPLATES + YAML + CONTROLS + FORMULAS
