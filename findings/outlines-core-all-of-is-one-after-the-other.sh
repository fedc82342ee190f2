#!/bin/sh
# outlines_core 0.2.14: a JSON schema with `allOf` asks for its parts one behind the other.
#
# `allOf` means that one value has to fit every part. Generators of schemas write it where something is added to a definition
# that is shared. outlines_core makes of each part a regular expression and joins them, without a word: the text has to be a
# value for the first part, followed at once by a value for the second. A rating that is an integer and one of 1 to 4 can't be
# `3`; a model that is held to it has to write two numbers in one, and `73`, which no part but the first allows, is well formed.
#
# Seen with Python 3.11.7:
#     one part, 3: taken
#     one part, 73: refused
#     allOf, 3: refused
#     allOf, 73: taken
#
# Fails (1) if allOf takes 3 or refuses 73. Needs python3 and pip's package index; takes a few seconds.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check outlines_core==0.2.14

cat > "$folder/program.py" <<'PYTHON'
import json

from outlines_core import Guide, Index, Vocabulary
from outlines_core.json_schema import build_regex_from_schema

GRADES = {"enum": [1, 2, 3, 4]}
letters = Vocabulary(127, {chr(number): [number] for number in range(32, 127)})


def takes(schema, text):
    guide = Guide(Index(build_regex_from_schema(json.dumps(schema)), letters))
    for letter in text:
        if ord(letter) not in guide.get_tokens():
            return False
        guide.advance(ord(letter))
    return guide.is_finished() or 127 in guide.get_tokens()


taken = {}
for name, schema in (("one part", GRADES), ("allOf", {"allOf": [{"type": "integer"}, GRADES]})):
    for text in ("3", "73"):
        taken[name, text] = takes(schema, text)
        print(f"{name}, {text}: {'taken' if taken[name, text] else 'refused'}")
raise SystemExit(taken["allOf", "3"] or not taken["allOf", "73"])
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
