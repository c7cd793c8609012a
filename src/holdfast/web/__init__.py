"""Pages for people: server-rendered, readable without scripts, with a JSON twin each.

``app.py`` makes the panel's pages, ``render.py`` the templates and their words, ``assets.py`` the static files;
``static/tokens.css``, ``base.css`` and ``lanes.css`` are the design system that other pages share.
"""
