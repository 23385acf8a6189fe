"""Packed documents on disk, between the job that tokenises them and the one that builds shards of them."""
