"""What an attacker would try, and that it is refused."""
