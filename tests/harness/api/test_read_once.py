"""An exchange is read once while it is in use."""

from healthy import exchange, response
from replies import Reply

from harness.api import DIALECTS


def test_an_exchange_in_use_is_read_once() -> None:
    answer = response("chat", False, Reply(text="It is."))
    one, other = (exchange("chat", False, answer) for _ in range(2))
    read = DIALECTS["chat"].read
    reply = read(one)
    assert read(other) is not reply
    assert read(one) is reply
    assert reply == read(other)
