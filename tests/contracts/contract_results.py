"""What the tests of the contracts ask of a result."""

from course_utils.contracts import check_contracts


def broken(make, **sample):
    """The numbers of the contracts that a layer breaks."""
    return tuple(r.number for r in check_contracts(make, **sample) if r.kept is False)


def seen(make, number, **sample):
    """What one contract saw, in words."""
    return check_contracts(make, numbers=[number], **sample)[0].seen
