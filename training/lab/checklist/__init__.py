"""Judging by a checklist that is made for the request, against judging by the three fixed dimensions.

python -m training.lab.checklist train checklist --run runs/checklist --out runs/checklist/judge
python -m training.lab.checklist train fixed --run runs/fixed --out runs/fixed/judge
python -m benchmarks.checklist --checklist runs/checklist/judge --fixed runs/fixed/judge
"""
