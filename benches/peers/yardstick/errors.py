"""What ends a run, said to a person."""


class Unusable(Exception):
    """The machine, a program or the data is not as it has to be."""


class Failed(Exception):
    """A system did something else than was asked of it: its figures would mean nothing."""


class NotHere(Exception):
    """A measurement that this machine cannot make, and why. Not an error: the page says so."""
