"""The gateway as its users meet it: a real server, a real Postgres, real keys."""
