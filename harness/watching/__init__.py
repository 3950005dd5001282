"""Watch providers: rounds of small samples, sequential tests of what they show, and alerts.

    records    a round, its counts, and an incident
    rounds     the contents of the next round
    signals    counts of a judged round; incidents from the counts of all rounds
    state      rounds, incidents and alerts in SQLite
    alerts     command, webhook
    metrics    the state as Prometheus text over HTTP

A round is an ordinary run. Its counts are stored in the same transaction as the incidents that they
open or end and the alerts about these, so a killed process loses nothing that was judged.
"""
