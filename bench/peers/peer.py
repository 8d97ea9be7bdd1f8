"""Locks of Python libraries, for command.c, which says what the lines mean. They poll as they do by default."""
import sys
import time


def filelock_of(path):
    import filelock
    lock = filelock.FileLock(path + ".lock")
    return {"x": lock.acquire, "s": None, "u": lambda mode: lock.release()}


def fasteners_of(path):
    import fasteners
    lock = fasteners.InterProcessReaderWriterLock(path + ".lock")

    def release(mode):
        (lock.release_write_lock if mode == "x" else lock.release_read_lock)()
    return {"x": lock.acquire_write_lock, "s": lock.acquire_read_lock, "u": release}


def say(what):
    print(what, flush=True)


def main():
    name, path = sys.argv[1:3]
    try:
        do = {"filelock": filelock_of, "fasteners": fasteners_of}[name](path)
    except ImportError as error:
        return say("missing: %s" % error)
    say("ready")
    for line in sys.stdin:
        order, _, count = line.strip().partition(" ")
        if count:
            start = time.perf_counter_ns()
            for _ in range(int(count)):
                do[order]()
                do["u"](order)
            say(time.perf_counter_ns() - start)
        elif order == "u":
            do["u"](mode)
            say("done")
        else:
            mode = order
            do[order]()
            say("done")


main()
