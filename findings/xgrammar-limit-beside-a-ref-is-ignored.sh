#!/bin/sh
# xgrammar 0.2.8: a limit that stands beside a `$ref` is left out, without a warning.
#
# Since draft 2019-09 of JSON Schema what stands beside `$ref` holds too, and pydantic writes it so: a field of a named type with a
# limit of its own is {"$ref": "#/$defs/Score", "maximum": 4}. xgrammar follows the reference and forgets the rest. So a judge whose
# scores go from 1 to 4 may be made to write 9: the reply obeys the grammar, breaks the schema that the grammar was made
# of, and only a validator afterwards says so. The same limit written into the type is kept. A keyword that xgrammar doesn't
# know (multipleOf of a number) is named in a warning; this one goes without a word.
#
# Seen with Python 3.11.7:
#     the limit in the type: 4 taken, 5 refused, 9 refused
#     the limit beside the $ref: 4 taken, 5 taken, 9 taken
#
# Fails (1) if the limit beside the reference holds. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy xgrammar==0.2.8

cat > "$folder/program.py" <<'PYTHON'
import json

import xgrammar

letters = [chr(number) for number in range(32, 127)] + ["<end>"]
tokens = xgrammar.TokenizerInfo(letters, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(letters) - 1])
compiler = xgrammar.GrammarCompiler(tokens)


def taken(score, type_):
    schema = {
        "type": "object",
        "properties": {"score": score},
        "required": ["score"],
        "additionalProperties": False,
        "$defs": {"Score": type_},
    }
    answers = {}
    for value in (4, 5, 9):
        matcher = xgrammar.GrammarMatcher(compiler.compile_json_schema(json.dumps(schema)))
        answers[value] = matcher.accept_string(f'{{"score": {value}}}') and matcher.accept_token(len(letters) - 1)
    return answers


whole = {"type": "integer", "minimum": 1}
reference = {"$ref": "#/$defs/Score"}
ways = {
    "the limit in the type": taken(reference, {**whole, "maximum": 4}),
    "the limit beside the $ref": taken({**reference, "maximum": 4}, whole),
}
for name, answers in ways.items():
    print(f"{name}: {', '.join(f'{value} taken' if answer else f'{value} refused' for value, answer in answers.items())}")
inside, beside = ways.values()
raise SystemExit(not (inside == {4: True, 5: False, 9: False} and all(beside.values())))
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
