"""The reference reads replies: how probable is each token of a reply after its prompt?

- `reading`: what is read, and what is known of each token afterwards
- `tree`: a model reads many replies at once, and what they have in common once
- `search`: the spelling of a reply that the model finds most probable
- `prompts`: the prompt that a request must become, also as each known fault would make it
- `witness`: a server that people already have reads instead of a model in this process
"""
