#!/bin/sh
# xgrammar 0.2.8: a JSON schema with `"enum": [1.0, 1.5, 2.0]` refuses the text `1.0` and takes `1`.
#
# A rating in half steps, written as every step with one decimal, is a usual schema for a judge. For JSON 1.0 and 1 are the
# same number, and a reader would expect the spelling of the schema to be allowed, at the least. xgrammar reads the schema
# into doubles and writes them anew: whole steps lose their decimal. A model that was taught to write `2.0` has that reply
# forbidden by its own schema: after `2` it can only go on to what follows the number.
#
# Seen with Python 3.11.7:
#     1.0: refused
#     1: taken
#     1.5: taken
#     2.0: refused
#     2: taken
#
# Fails (1) if 1.0 and 2.0 are taken. Needs python3 and pip's package index; takes a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy xgrammar==0.2.8

cat > "$folder/program.py" <<'PYTHON'
import xgrammar

letters = [chr(number) for number in range(32, 127)] + ["<end>"]
tokens = xgrammar.TokenizerInfo(letters, vocab_type=xgrammar.VocabType.RAW, stop_token_ids=[len(letters) - 1])
compiled = xgrammar.GrammarCompiler(tokens).compile_json_schema('{"enum": [1.0, 1.5, 2.0]}')
taken = {}
for text in ("1.0", "1", "1.5", "2.0", "2"):
    matcher = xgrammar.GrammarMatcher(compiled)
    taken[text] = matcher.accept_string(text) and matcher.accept_token(len(letters) - 1)
    print(f"{text}: {'taken' if taken[text] else 'refused'}")
raise SystemExit(taken["1.0"] and taken["2.0"])
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
