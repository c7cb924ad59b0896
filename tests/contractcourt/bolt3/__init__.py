"""BOLT 3: its vectors byte for byte, and what LDK really made of it."""
