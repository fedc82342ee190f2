#!/bin/sh
# llama.cpp b11549 (PyPI xllamacpp 2026.10.11549): with a stop text, log probabilities of the reply itself are missing.
#
# A request with `logprobs` and `stop` should answer with a row for every token of the reply; the tokens in which the stop
# text was written may be left out. llama.cpp tokenises the stop text alone and leaves out as many rows as that gives. A model
# that wrote it in fewer, longer tokens so loses rows of the words before it: the stop text `ta alp` is six tokens alone and
# parts of two in ` theta alpha`, and with it go the rows of four more words. Whoever reads how sure the model was of a
# reply's last number reads nothing. Without `stop`, or if the reply ends by itself, all rows are there.
#
# Seen with Python 3.11.7, a model made here that counts through eight words, one token each:
#     without stop, 12 of 12 words have a row
#     stopped at 'ta alp', the reply has 7 words and 2 rows
#
# Fails (1) if every word of the reply has its row. Needs python3 and pip's package index; takes half a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check xllamacpp==2026.10.11549 gguf==0.19.0

cat > "$folder/program.py" <<'PYTHON'
import json
import sys
import urllib.request

import gguf
import numpy as np
import xllamacpp

WIDTH, PATH = 64, sys.argv[1]
WORDS = [" alpha", " beta", " gamma", " delta", " omega", " sigma", " kappa", " theta"]
BYTES = [chr(n) if 33 <= n <= 126 else chr(0x100 + n) for n in range(256)]  # close enough to GPT-2's table for ASCII
TOKENS = [*BYTES, *(word.replace(" ", "\u0120") for word in WORDS), "qz", "<end>"]


def write_model():
    """A model whose one block adds nothing: each word is followed by the next one of the list."""
    writer = gguf.GGUFWriter(PATH, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 2)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * (len(TOKENS) - 1) + [gguf.TokenType.CONTROL])
    writer.add_token_merges(["q z"])
    writer.add_eos_token_id(len(TOKENS) - 1)
    writer.add_add_bos_token(False)
    writer.add_chat_template("{% for m in messages %}{{ m.content }}{% endfor %}")
    embedded = np.zeros((len(TOKENS), WIDTH), np.float32)
    output = np.zeros((len(TOKENS), WIDTH), np.float32)
    for token in range(len(TOKENS)):
        word = token - 256 if 0 <= token - 256 < len(WORDS) else 0
        embedded[token, word] = 1.0
        if token >= 256 and token < 256 + len(WORDS):
            output[token, (word - 1) % len(WORDS)] = 1.0
    writer.add_tensor("token_embd.weight", embedded)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(WIDTH, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((WIDTH, WIDTH), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def ask(server, **more):
    body = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 12, "logprobs": True, **more}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.listening_address}/v1/chat/completions", json.dumps(body).encode(), headers)
    choice = json.load(urllib.request.urlopen(request))["choices"][0]
    return choice["message"]["content"], [row["token"] for row in choice["logprobs"]["content"]]


write_model()
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = PATH, 512, 1, 0
server = xllamacpp.Server(params)
text, rows = ask(server)
print(f"without stop, {len(rows)} of {len(text.split())} words have a row")
whole = len(rows) == len(text.split())
text, rows = ask(server, stop=["ta alp"])  # the first that is written is in `theta alpha`, words 7 and 8
print(f"stopped at 'ta alp', the reply has {len(text.split())} words and {len(rows)} row{'s' * (len(rows) != 1)}")
raise SystemExit(not (whole and len(rows) < len(text.split()) - 1))
PYTHON

"$folder/venv/bin/python" "$folder/program.py" "$folder/model.gguf" 2> /dev/null
