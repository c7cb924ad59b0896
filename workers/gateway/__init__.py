"""The gateway: nodes' webhooks in, cases out, over HTTP.

Begin with `app` (what is served) and `webhooks` (how one webhook becomes one commit). `payloads`
and `fields` say what a node may send, `signatures` who it must be, `problems` how a refusal looks.
May import every room below; nothing imports it but the command line.
"""
