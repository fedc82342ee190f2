"""Do the words do it? One judge read in several ways on the same generated pictures: `python -m training.lab.words`."""
