"""Everything that judges, behind one opinion of a pair or one number for a picture.

Reading order: `opinions` (what a judge said), `judges` (who can be asked), `ties` and `figures` (what a set of opinions
is worth), `teaching` (one question to a model, asked until its answer can be read); rewards without words: `scalars`
and `scalar_remote` (published ones), `head` (Bradley-Terry on our backbone), `picture_head` with
`rendered_preferences` (a small one for the miniature's world), `scalar_judge` (any of them behind the trainer's judge);
`reward_server` (ours over HTTP), `oracle` (the miniature's truth), `student_rubrics`.
"""
