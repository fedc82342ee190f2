#!/bin/sh
# llama.cpp b11549 (PyPI xllamacpp 2026.10.11549): with a thinking template the `grammar` of a request binds the thought, and
# the reply is empty.
#
# A template that begins the model's turn with `<think>` makes the server take what follows for a thought. `grammar` should
# hold for the answer, as it does for vLLM's structured outputs behind a reasoning parser. llama.cpp holds the grammar from the
# first token on: the text that the grammar forces can't contain `</think>`, so all of it comes back as `reasoning_content`,
# with an empty `content`, finish_reason `stop` and status 200. Whoever reads `content` has an empty reply that looks finished.
#
# Seen with Python 3.11.7, a model made here that counts through eight words:
#     stop: content '', reasoning_content ' alpha beta'
#
# Fails (1) if the forced text is the reply's content. Needs python3 and pip's package index; takes half a minute.
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

TEMPLATE = """{%- for m in messages -%}
<|user|>{%- if m.role == 'assistant' -%}{%- if m.reasoning_content -%}<think>
{{ m.reasoning_content }}
</think>

{% endif %}{%- endif -%}{{ m.content }}
{%- endfor -%}{%- if add_generation_prompt -%}<|assistant|><think>
{% endif -%}"""
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
    writer.add_chat_template(TEMPLATE)
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
    body = {"messages": [{"role": "user", "content": "x"}], "temperature": 0, "max_tokens": 12, **more}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{server.listening_address}/v1/chat/completions", json.dumps(body).encode(), headers)
    choice = json.load(urllib.request.urlopen(request))["choices"][0]
    message = choice["message"]
    print(f"{choice['finish_reason']}: content {message['content']!r}, reasoning_content {message.get('reasoning_content')!r}")
    return message


write_model()
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = PATH, 512, 1, 0
server = xllamacpp.Server(params)
message = ask(server, grammar='root ::= " alpha beta"')
raise SystemExit(message["content"] != "" or message.get("reasoning_content") != " alpha beta")
PYTHON

"$folder/venv/bin/python" "$folder/program.py" "$folder/model.gguf" 2> /dev/null
