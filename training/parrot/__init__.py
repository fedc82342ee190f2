"""PARROT (arXiv 2604.11626): from preference labels to the training data of a model that critiques before it scores.

A preference says which of two candidates people liked better, and not why. A teacher that is told the label
writes the why (`rationalize`); what it wrote counts only if the label can be predicted from the evidence in it
(`check`); what survives becomes two absolute critiques in the student's grammar (`project`); these are
exported as chat examples (`export`). `report` shows what was kept, what was dropped, and why.

    python -m training.parrot {import, rationalize, check, project, export, report} --run FOLDER
"""
