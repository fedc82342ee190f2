"""Servers that this program starts itself: when (`managed_server`), how (`server_run`, `server_log`), never longer (`keeper`)."""
