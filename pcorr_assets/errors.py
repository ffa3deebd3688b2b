"""The one exception that is meant for the person at the keyboard.

Belongs here: the exception type. Does not belong here: messages, which are
written where the mistake is noticed and say what is wrong, where, and what to do.
"""


class PcorrError(ValueError):
    """Something a user can mend: bad input, a missing file, settings that do not fit.

    Anything else that is raised is a defect of the platform itself.
    """
