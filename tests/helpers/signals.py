"""Signals that this process was started to ignore, as nohup, CI runners and a shell's background jobs do."""

import signal


def handle_ignored_signals() -> None:
    """Makes signals act as in a program that was started on a terminal: in this process, and in those that it starts.

    A process inherits an ignored signal from the one that starts it, and Python handles Ctrl-C only where it is not
    ignored. A handler is not inherited: where there is one, a new process starts with the default action.
    """
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGCHLD: signal.SIG_DFL,
        signal.SIGHUP: lambda *_: None,  # a suite under nohup goes on when its terminal is closed
    }
    for number, handler in handlers.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
