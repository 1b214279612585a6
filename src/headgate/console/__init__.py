"""The console: pages at ``/console`` over the store and the gateway as it is now.

Loaded at the first request to it; the data plane never waits for it. A page is a row (``page.Page``) in
``table``: what it shows is a function on a thread, how it looks a template.
"""
