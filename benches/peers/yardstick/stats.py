"""Medians, and ratios of what was measured in the same round."""

from statistics import median


class Figure:
    """A median with the least and the most of its rounds."""

    def __init__(self, values):
        self.values = list(values)
        self.median, self.least, self.most = median(self.values), min(self.values), max(self.values)

    def __format__(self, form):
        """`12.3 (11.9–12.8)`; the form is that of one number."""
        form = form or ".2f"
        if len(self.values) == 1:
            return format(self.median, form)
        return f"{self.median:{form}} ({self.least:{form}}–{self.most:{form}})"

    def scaled(self, factor):
        return Figure(value * factor for value in self.values)


def figure(samples, name):
    return Figure(sample[name] for sample in samples)


def ratio(ours, theirs, name, theirs_name=None):
    """Ours by theirs, round by round: what disturbed a whole round cancels out."""
    pairs = zip(ours, theirs)
    return Figure(our[name] / their[theirs_name or name] for our, their in pairs)


def spread(figure):
    """How far the rounds lie apart, as a share of the median."""
    return (figure.most - figure.least) / figure.median
