"""One program for each agent framework, run as `python -m` in a process of its own.

A program gets the name of a task and prints the agent's final answer. `OPENAI_BASE_URL` and
`OPENAI_API_KEY` say where to send requests, `AGENT_MODEL` and `AGENT_API` what to ask for.
"""

QUESTION = "What is the temperature in {city}? Use the tool, and answer with the number."
TEMPERATURES = {"Oslo": 21.7, "Lima": 28.4}
"""In degrees Celsius. Only the tool has them."""


def get_temperature(city: str) -> str:
    """Get the current temperature in a city.

    Args:
        city: The name of the city.
    """
    known = next((name for name in TEMPERATURES if name.lower() in city.lower()), None)
    return f"{TEMPERATURES[known]} °C" if known else f"nothing is known about {city}"
