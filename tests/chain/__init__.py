"""The rooms that speak to Bitcoin, against a real regtest node."""
