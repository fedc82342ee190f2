#!/bin/sh
# xgrammar 0.2.8: a JSON string with a `maxLength` may not hold a quotation mark or a line end.
#
# A limit on a string's length limits its length, and JSON Schema counts characters: a quotation mark, written `\"`, is one.
# With no limit xgrammar allows every escape. With `maxLength` or `minLength` it allows plain characters alone, so that a
# critique of at most 2,000 characters, the usual guard against a judge that never ends, can't quote what it reads in a picture,
# nor start a second line. A model that wants to is not stopped: the backslash is masked, and it has to write
# something else. The schema is taken without a warning, and every reply is valid; they are only other replies.
#
# Seen with Python 3.11.7:
#     no limit: a plain text taken, quotation marks taken, two lines taken
#     maxLength 2000: a plain text taken, quotation marks refused, two lines refused
#     minLength 1: a plain text taken, quotation marks refused, two lines refused
#
# Fails (1) if a limited string may hold quotation marks. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy xgrammar==0.2.8

cat > "$folder/program.py" <<'PYTHON'
import json

import xgrammar

TEXTS = {"a plain text": "a sign says STOP", "quotation marks": 'a sign says "STOP"', "two lines": "a sign\nSTOP"}
letters = [chr(number) for number in range(32, 127)] + ["<end>"]
tokens = xgrammar.TokenizerInfo(letters, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(letters) - 1])
compiler = xgrammar.GrammarCompiler(tokens)


def taken(limit, text):
    matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps({"type": "string", **limit})))
    return matcher.accept_string(json.dumps(text)) and matcher.accept_token(len(letters) - 1)


answers = {}
for name, limit in (("no limit", {}), ("maxLength 2000", {"maxLength": 2000}), ("minLength 1", {"minLength": 1})):
    answers[name] = {kind: taken(limit, text) for kind, text in TEXTS.items()}
    print(f"{name}: {', '.join(f'{kind} taken' if answer else f'{kind} refused' for kind, answer in answers[name].items())}")
free, limited = answers["no limit"], answers["maxLength 2000"]
raise SystemExit(not (all(free.values()) and limited["a plain text"] and not limited["quotation marks"]))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
