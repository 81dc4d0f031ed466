"""The page that tries students, with a server or without.

`page.py` writes it. `page.js` is the form and the bars; who answers is another
script: `student.js`, the exported student in the browser itself, or that of
`kdjax serve`, which asks the server.
"""
