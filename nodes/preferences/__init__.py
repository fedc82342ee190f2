"""What a person prefers, as it is clicked on Preference Pick.

Reading order: `store` (questions and answers of a data set), `log` (its file), `users` (whose they are), `routes` (what the
page may ask), `export` (answers as pairs to train from).
"""
