"""The command, which sends itself a signal at a chosen moment: `python struck.py JSON`

The moment is when a line on standard error matches a pattern (`until`; `after` seconds later), or when an epoch of a
rung is reported (`strike`: recipe, epoch, and 'fit' or 'repeat')."""
import json, os, re, sys
from io import TextIOWrapper
from threading import Timer


class Watched(TextIOWrapper):
    "Standard error, which sends its process a signal when a text matches"
    def watch(self, until, sent, after):
        self.watched = until, sent, after

    def write(self, text):
        n = super().write(text)
        until, sent, after = self.watched
        if until and re.search(until, text, re.M):
            self.flush()
            if after: Timer(after, os.kill, (os.getpid(), sent)).start()
            else: os.kill(os.getpid(), sent)
        return n


def strike_at(recipe, epoch, what, sent):
    "Send this process a signal when the epoch is reported"
    from fastrecipes.commands.compare import TableProgress
    reported = TableProgress.epoch
    def on_epoch(self, row):
        reported(self, row)
        if (self.task.name, self.task.what, row['epoch']) == (recipe, what, epoch): os.kill(os.getpid(), sent)
    TableProgress.epoch = on_epoch


def main():
    args, strike, until, sent, after = json.loads(sys.argv[1])
    if strike: strike_at(*strike, sent)
    sys.stderr = Watched(os.fdopen(2, 'wb', closefd=False), write_through=True)
    sys.stderr.watch(until, sent, after)
    from fastrecipes.cli import main
    main(args)


if __name__ == '__main__': main()
