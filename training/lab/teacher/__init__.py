"""A synthetic teacher for the miniature world: an OpenAI-style server with an oracle's eyes and human-like faults.

It exists so that the pipeline can be tried, tested and *measured* without a GPU: which of its rationales are sound,
hallucinated, vague or parroting is known, so that precision and recall of every filter can be counted.

    python -m training.lab.teacher --port 8350 --log teacher.jsonl
"""
