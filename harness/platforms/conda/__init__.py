"""Conda as a platform, without any conda: which channel, a local one made from wheels, locking, installing.

Everything is below ``<cache>/conda``, which only its owner may enter, since locks can name a mirror's password:

    packages/<sha256>/     packages of a channel on a server, each once
    made/<key>/            packages made here, of one wheel or of the interpreter
    channels/<key>/        local channels: links to what was made, and ``repodata.json``
    locks/<key>/           ``environment.yml`` and ``conda-lock.yml``, made once for the same inputs
    repodata/              what py-rattler keeps of channels on servers
"""
