"""Stories of channels, told once and run twice: in memory against the law, and on the stack.

`court` says what a story may ask of a court; `memory` and `stack` are the two courts.
"""
