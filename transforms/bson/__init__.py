"""Bytes and values of BSON; nothing here knows a contract's meaning."""
