"""For all tests."""

import signal

# A job in the background of a shell starts with Ctrl-C ignored, and so would all that it starts. The tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
