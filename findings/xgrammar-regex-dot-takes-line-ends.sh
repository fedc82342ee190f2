#!/bin/sh
# xgrammar 0.2.8: the dot of a regular expression takes line ends.
#
# A guide made of `Reason: .*\nScore: [1-4]` looks like two lines: in Python, Perl, JavaScript, Rust and RE2 a dot ends at
# the line. In xgrammar it is any character, so the first line never has to end: whole paragraphs, a second "Score:" of any
# number and anything else are within the guide, and a model that is held to it may write on to its limit of tokens.
# `[^\n]*` holds the line. Servers that take a regular expression for guided decoding with this library inherit it.
#
# Seen with Python 3.11.7:
#     'Reason: a hat\nScore: 3': Python True, xgrammar True
#     'Reason: a hat\nScore: 9\n\nwell\nScore: 3': Python False, xgrammar True
#
# Fails (1) if both libraries agree on both texts. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy xgrammar==0.2.8

cat > "$folder/program.py" <<'PYTHON'
import re

import xgrammar

GUIDE = r"Reason: .*\nScore: [1-4]"
letters = [chr(number) for number in range(32, 127)] + ["\n", "<end>"]
tokens = xgrammar.TokenizerInfo(letters, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(letters) - 1])
compiled = xgrammar.GrammarCompiler(tokens).compile_regex(GUIDE)
agree = True
for text in ("Reason: a hat\nScore: 3", "Reason: a hat\nScore: 9\n\nwell\nScore: 3"):
    matcher = xgrammar.GrammarMatcher(compiled)
    taken = matcher.accept_string(text) and matcher.accept_token(len(letters) - 1)
    expected = re.fullmatch(GUIDE, text) is not None
    agree = agree and taken == expected
    print(f"{text!r}: Python {expected}, xgrammar {taken}")
raise SystemExit(agree)
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
