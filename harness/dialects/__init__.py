"""The two APIs a provider may speak: how to ask, how to read an answer, how to go on."""
