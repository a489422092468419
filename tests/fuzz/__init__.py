"""Every reader of files that are not ours, given what nobody would write: by hypothesis, and guided by coverage.

``targets.py`` has the table of readers, ``mutate.py`` what is done to their inputs, ``corpus/`` inputs that are kept:
seeds made by hand, and what once broke a reader. ``tests/unit/test_fuzz_corpus.py`` replays them;
``nox -s fuzz -- --seconds 3600`` looks for more (:mod:`fuzz.run`).
"""
