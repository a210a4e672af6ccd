"""Processes that watch each other; threads stand for them here."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from jaxrf.errors import InputError
from jaxrf.sweep import peers
from jaxrf.sweep.peers import HELLO, Peers


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setattr(peers, "JOIN", 5.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def together(address, bodies, stop=lambda: False):
    """Run a body within the watch of each process; who heard that another died, and how many were done at its leave."""
    lost, done, left = [threading.Event() for _ in bodies], [], {}

    def process(index):
        with Peers(address, index, len(bodies), lost[index].set, stop):
            bodies[index]()
            done.append(index)
        left[index] = len(done)

    threads = [threading.Thread(target=process, args=(index,)) for index in range(len(bodies))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert sorted(left) == list(range(len(bodies)))
    return [event.is_set() for event in lost], left


def brief():
    time.sleep(0.1)


def long():
    time.sleep(1.5)


@pytest.mark.parametrize("bodies", [[brief, long, brief], [long, brief, brief]])
def test_orderly_ends_are_no_deaths(address, bodies):
    """Whoever is done first, nobody is lost; process 0 stays until the last one is done."""
    lost, left = together(address, bodies)
    assert lost == [False, False, False] and left[0] == 3


def test_the_first_may_leave_early_when_it_is_to_stop(address):
    """A process 0 that was asked to stop does not wait for the others, and they go on."""
    assert together(address, [brief, long], stop=lambda: True) == ([False, False], {0: 1, 1: 2})


def test_a_broken_connection_is_a_death_that_all_hear_of(address):
    """A process that goes without a word is noticed by process 0, which tells the others."""
    host, _, port = address.rpartition(":")

    def dying(lost):
        time.sleep(0.3)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(HELLO)
            assert connection.recv(len(HELLO)) == HELLO

    thread = threading.Thread(target=dying, args=(None,))
    thread.start()
    lost = [threading.Event(), threading.Event()]

    def process(index):
        with Peers(address, index, 3, lost[index].set):
            lost[index].wait(20)

    threads = [threading.Thread(target=process, args=(index,)) for index in range(2)]
    for one in threads:
        one.start()
    for one in [thread, *threads]:
        one.join(timeout=30)
    assert lost[0].is_set() and lost[1].is_set()


def test_silence_is_a_death(address, monkeypatch):
    """A connection that stands but says nothing, as of a machine that lost its power, is given up after a while."""
    monkeypatch.setattr(peers, "SILENT", 1.0)
    host, _, port = address.rpartition(":")
    heard = threading.Event()
    held = []

    def silent():
        time.sleep(0.3)
        held.append(socket.create_connection((host, int(port))))
        held[0].sendall(HELLO)

    thread = threading.Thread(target=silent)
    thread.start()
    began = time.monotonic()
    with Peers(address, 0, 2, heard.set):
        assert heard.wait(10)
    assert time.monotonic() - began < 5
    thread.join()
    held[0].close()


def test_failing_in_one_process_ends_the_others(address):
    """An error that ends one process is told to the others, who would wait for its share in vain."""
    lost = threading.Event()

    def failing():
        with pytest.raises(OSError, match="the disk is full"), Peers(address, 1, 2, lambda: None):
            raise OSError("the disk is full")

    thread = threading.Thread(target=failing)
    thread.start()
    with Peers(address, 0, 2, lost.set):
        assert lost.wait(10)
    thread.join()


def test_strangers_are_not_taken_for_peers(address, monkeypatch):
    """A connection that does not greet, as of a scan of ports, is closed, and the real one is taken."""
    monkeypatch.setattr(peers, "GREETING", 0.3)
    host, _, port = address.rpartition(":")

    def stranger_then_peer():
        time.sleep(0.3)
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with Peers(address, 1, 2, lambda: None):
            pass

    thread = threading.Thread(target=stranger_then_peer)
    thread.start()
    lost = threading.Event()
    with Peers(address, 0, 2, lost.set):
        thread.join(10)
    assert not lost.is_set()


def test_a_process_that_finds_nobody_says_so(address, monkeypatch):
    """Where nobody listens, or nobody comes, the message names the address and the way out."""
    monkeypatch.setattr(peers, "JOIN", 0.3)
    for index in (0, 1):
        with (
            pytest.raises(InputError, match=rf"Process {index} of 2 did not find the others at {address}.*--shard"),
            Peers(address, index, 2, lambda: None),
        ):
            pass
