#!/bin/sh
# scikit-learn 1.9.1: `cohen_kappa_score(..., weights="quadratic")` does not look at how far two grades are apart.
#
# Quadratic weights are used for grades so that a large disagreement counts more than a small one, with the square of the
# distance. Two pairs of raters give 0, 10 and 100 points. One pair mistakes 0 for 10 and back, the other 10 for 100 and back.
# Both get the same kappa, for the distance is counted in places among the grades that occur, not in points: from 10 to 100 is
# one step like any other. So a grade that nobody gave, or one that is given once, changes the kappa of all the rest. With
# `labels=range(101)`, every grade that is possible, places are points, and the two pairs are far apart.
#
# Seen with Python 3.11.7:
#     0 for 10: kappa 0.875; with all grades as labels 0.996
#     10 for 100: kappa 0.875; with all grades as labels 0.666
#
# Fails (1) if the first figures of both pairs differ, or the second ones don't. Needs python3 and pip's package index; takes
# a minute.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1

cat > "$folder/program.py" <<'PYTHON'
from sklearn.metrics import cohen_kappa_score

FIRST = [0, 0, 0, 0, 10, 10, 10, 10, 100, 100, 100, 100]
SECOND = {
    "0 for 10": [10, 0, 0, 0, 0, 10, 10, 10, 100, 100, 100, 100],
    "10 for 100": [0, 0, 0, 0, 100, 10, 10, 10, 10, 100, 100, 100],
}
plain, with_labels = [], []
for name, grades in SECOND.items():
    plain.append(round(cohen_kappa_score(FIRST, grades, weights="quadratic"), 3))
    with_labels.append(round(cohen_kappa_score(FIRST, grades, weights="quadratic", labels=range(101)), 3))
    print(f"{name}: kappa {plain[-1]}; with all grades as labels {with_labels[-1]}")
raise SystemExit(plain[0] != plain[1] or with_labels[0] == with_labels[1])
PYTHON

"$folder/venv/bin/python" "$folder/program.py"
