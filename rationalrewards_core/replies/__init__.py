"""Reading a critique back from what a model wrote.

Reading order: `parsing` (the way in), `reading` (lines, tables and JSON together), `line_reader`, `labels`,
`section_texts`, `score_text` (one score), `score_sheet` (all of a reply, and what contradicts what), `score_tables`,
`score_json`, `corrections` and `correction_watch` (scores that are taken back in words); `profile_reading` for judges with a
form of their own.
"""
