"""Links and transfers: how bytes move.

A link is busy while it transmits, never while bits propagate. `links` holds the state of all links,
`weather` and `luck` what the timetable and chance do to them, `maxmin` and `fluid` how fair ones
are shared, `carrier` sends one thing one hop further; `transfer` (requests, answers) and `post`
(messages) say what follows.
"""
