"""Servers that this program starts itself: `keeper` ends one with us, `server_log` keeps what it says, `managed_server` starts it."""
