"""The admin API: keys, people, audit log, records and configuration over HTTP, at ``/admin/v1``.

Loaded at the first request to it; the data plane never waits for it. To add to it, write a module with ``ROUTES`` (see
``route``) and name it in ``table``.
"""
