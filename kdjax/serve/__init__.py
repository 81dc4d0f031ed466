"""Trained students behind a local HTTP server: a JSON endpoint and a page.

`opening.py` opens the students, `forms.py` reads what a request gives,
`batches.py` computes requests together, `app.py` has the routes and limits.
Read `service.py` first.
"""
