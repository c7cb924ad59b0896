"""The operator's desk: pages for people, on the same court as the API.

Begin with `routes` (what is shown where) and `pages` (how a template becomes an answer). `board`,
`case_file`, `timeline`, `machine_picture` and `tree` turn stored facts into what the templates
draw; `sessions` and `visitors` say who is looking; `actions` is everything that changes anything;
`stream` and `live` tell an open page that something moved. Pages work without their script, which
only saves the reload.
"""
