"""From one run's evidence and a scenario to a recommendation that says why, how surely, and what would change it.

``limits`` filters, ``value`` scores on fixed scales, ``confidence`` resamples, ``explain`` answers
"why" and "what if", ``article`` is the baseline to compare with, and ``engine`` puts them together.
"""
