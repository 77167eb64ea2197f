"""Wrong ideas that every way back knows."""

MINUS = "a minus has come in on the way: the loss has the only one, and it is in already."


def negative(back):
    """The wrong idea of a minus: all that `back` gives, turned round."""

    def turned(*args):
        found = back(*args)
        return tuple(-one for one in found) if isinstance(found, tuple) else -found

    return turned


def changed(back, place, change):
    """`back` with `change(gradient, *args)` in the place of one of its gradients."""

    def other(*args):
        found = list(back(*args))
        found[place] = change(found[place], *args)
        return tuple(found)

    return other
