"""The page: many results as one file of HTML that needs nothing else, neither network nor program.

Comes in: results by name, or places where they lie. Goes out: a file.
Reads results and never runs a model; loads no JAX. `cards.py` says what of a result is shown, `doubts.py` what is
doubtful about it, `drawings.py` and `charts.py` how it is drawn, `words.py` what is said of all; the look is `page.html`,
`page.css` and `page.js`, which decide nothing.
Invariants: every text of a user is escaped by the template, and the page's own policy lets no other script run.
One more fact of a result is a field of `Card` and a place in `page.html`.
"""
