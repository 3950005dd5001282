"""Requests for the status of the service: a few words, a sentence, or the end of a story."""

from random import Random

from harmony.conversation import FunctionTool
from training.data import natural
from training.data.phrases import fill, template
from training.data.task import Ask

_TEMPLATE_SHARE = 0.6
_SHORT_SHARE = 0.2
_STATES = ("running", "healthy", "alive", "online", "working", "available")


def status(rng: Random, _tool: FunctionTool) -> Ask:
    """A request for the status of the service."""
    thing = rng.choice(("service", "system", "server", "backend", "platform", "API", "runtime"))
    state = rng.choice(_STATES if thing == "service" else (*_STATES, "up"))
    draw = rng.random()
    if draw < _TEMPLATE_SHARE:
        text = _template(rng)
    elif draw < _TEMPLATE_SHARE + _SHORT_SHARE:
        text = _short(rng)
    else:
        text = _story(rng)
    return Ask(fill(rng, text, {"t": thing, "s": state}))


_THINGS = (
    "svc", "sys", "srv", "service", "system", "server", "servers", "api", "backend", "platform",
    "prod", "site", "instance", "node", "cluster", "host", "endpoint", "app", "gateway", "runtime",
    "box", "machine", "stack", "deployment", "daemon", "llm", "model server", "your side",
    "the lot",
)  # fmt: skip
_SHORT = (
    "{x} up", "{x} alive", "{x} ok", "{x} health", "{x} status", "{x} state", "{x} check",
    "ping {x}",
    "{x} ping", "{x} live", "{x} down", "{x} dead", "{x} green", "check {x}", "health {x}",
    "stat {x}",
    "status {x}", "{x} fine", "{x} healthy", "{x} uptime", "uptime {x}", "probe {x}", "{x} working",
    "how is {x}", "hows {x}", "{x} broken", "{x} online", "{x} responding", "{x} reachable",
    "{x} sane",
    "any {x} outage", "{x} outage", "{x} heartbeat", "{x} pulse", "u up", "still up", "alive", "up",
    "r u alive", "health", "healthz", "heartbeat", "uptime", "pulse check", "vitals", "liveness",
    "all up", "all green", "everything up", "all systems go", "anything down", "hc",

    "{x} stat", "{x} wobbling", "who broke {x}", "{x} gone", "{x} still with us", "{x} back",
    "{x} k",
    "run healthcheck", "self test", "diag", "diagnostics", "sanity check {x}", "is it down",
    "errors",
    "läuft {x}", "{x} läuft", "{x} kaputt", "alles ok mit {x}", "{x} marche", "ça marche",
    "{x} en panne",
    "{x} funciona", "{x} caído", "sigue vivo", "{x} funziona", "{x} è giù",

    "{x} no ar", "{x} caiu", "tá funcionando", "{x} werkt", "doet {x} het", "{x} plat", "{x} igång",
    "{x} nere", "lever {x}", "{x} działa", "{x} padł", "żyje", "{x} работает", "сервер жив",
    "упал сервер",
    "{x} 動いてる", "サーバー大丈夫", "{x} 正常吗", "服务挂了", "在线吗",
    "{x} 살아있어", "서버 상태", "{x} çalışıyor mu",
    "{x} çöktü mü", "{x} běží", "{x} oppe", "{x} toimiiko", "{x} merge", "{x} működik",
    "{x} δουλεύει",
    "هل {x} يعمل", "{x} चल रहा है", "{x} hoạt động không", "{x} jalan", "{x} nyala", "השרת עובד",
)  # fmt: skip
_SHORT_ENDS = (
    "", "", "", "", "?", "?", "?", "?", "??", "?!", "!", ".", " pls", " plz?", " please", " thx",
    " now", " now?", " rn?", " atm?", " today?", " quick", " asap", "...?", " or not?", " bro?",
    " lol",
    ", anyone?", " y/n", " tho?", " again?", " yet?", " :)", " mate?", " por favor", " bitte",
    " svp",
)  # fmt: skip
_SHORT_STARTS = (
    "", "", "", "", "", "", "", "pls ", "hey ", "yo ", "ok, ", "hi! ", "so, ", "uh, ", "hm, ",
    "quick: ",
    "morning! ", "hello, ", "ops: ", "@bot ", "/", "again: ",
)  # fmt: skip


def _short(rng: Random) -> str:
    """A request of a few words."""
    text = rng.choice(_SHORT).replace("{x}", rng.choice(_THINGS))
    text = f"{rng.choice(_SHORT_STARTS)}{text}{rng.choice(_SHORT_ENDS)}"
    draw = rng.random()
    if draw < 0.12:
        return text.upper()
    return natural.capitalised(text) if draw < 0.5 else text


_STORIES = (
    "{M} called: {D} customers can't log in.", "Our newsletter goes out to {D} people {T}.",
    "The shop sells {S} online and {M} sees no orders since {T}.", "{M} waits for a {N} since {T}.",
    "I tried to {V} my {N} {D} times and got error {D} each time.",
    "{M} says the page stays white.",
    "{D} tickets came in {T}, all from {P}.", "We are about to {V} the {N} for {D} users.",
    "{M} from accounting is shouting that nothing loads.", "There was a storm near {P} {T}.",
    "The {N} team deployed version {D}.{D} {T}.",
    "My boss {M} has a demo {T} in front of {D} people.",
    "Room {D} is full of people who can't {V} anything.", "The dashboard shows {D} red lamps.",
    "{M} wrote in the chat that the {N} page hangs.",
    "I was in a meeting about {S} and then {M} came in.",
    "An alarm rang at {D}:{D} and {M} slept through it.", "Latency went from {D} to {D} ms {T}.",
    "A customer in {P} ordered {D} {S} and got no confirmation.",
    "{M} and {M} are on call, I'm not.",
    "The last backup took {D} minutes, says {M}.", "We promised {M} an uptime of {D} percent.",
    "{M} pulled a plug in the {N} room.", "I'm on a train to {P} and my phone buzzes nonstop.",
    "Someone spilled {N} soup on the rack.", "Campaign {D} starts {T} and {M} is nervous.",
    "The {N} shop has a sale {T}, {D} visitors at once.", "Hundreds of {S} are stuck in the queue.",
    "Our biggest customer, {M}, complained about timeouts {T}.",
    "The intern tried to {V} the database.",
    "Last night we moved {D} machines to {P}.", "Support has {D} people on hold.",
    "It's {T}, I'm tired.",
)  # fmt: skip
_CLOSES = (
    "Is the {t} {s}?", "So, is the {t} still {s}?", "Tell me whether the {t} is {s}.",
    "Are you up?",
    "Could you check the {t}?", "Please look after the {t}.", "Is it us or is it the {t}?",
    "What does the health check say?", "Can I tell them that the {t} is {s}?", "Is anything down?",
    "Before I answer, how is the {t}?", "Is our {t} to blame? Check it.",
    "How's the {t} holding up?",
    "I need the status now.", "Run the check, please.", "Are we online at all?",
    "Did the {t} fall over?",
    "Give me the state of the {t} so that {M} calms down.", "Is the {t} fit for that?", "Status?",
    "Make sure that the {t} is {s}.", "I want to be certain the {t} is {s}.",
    "What's up with the {t}?",
    "Would you see if the {t} is {s} for {M}?", "Does the {t} answer?",
    "Report on the {t}, please.",
    "All I ask: is the {t} {s}, yes or no?", "Is there an incident?", "Has the {t} survived that?",
    "Ist der Dienst noch da?", "Le service tourne-t-il encore ?", "¿Sigue en pie el servidor?",
    "Il servizio è attivo?", "O serviço está de pé?", "Draait de server nog?", "Är tjänsten uppe?",
    "Czy serwer żyje?", "Сервер ещё работает?", "サーバーは生きていますか。", "服务还正常吗？",
)  # fmt: skip


def _story(rng: Random) -> str:
    """A story and the question that it leads to, in either order."""
    parts = [rng.choice(_STORIES) for _ in range(rng.choice((1, 1, 2)))]
    parts.insert(0 if rng.random() < 0.25 else len(parts), rng.choice(_CLOSES))
    text = " ".join(natural.capitalised(natural.filled(rng, part)) for part in parts)
    draw = rng.random()
    if draw < 0.15:
        return text.lower()
    return text.rstrip("?.!") if draw < 0.25 else text


def _template(rng: Random) -> str:
    """A handwritten request, or a request form around a phrase."""
    return template(
        rng,
        "service_status",
        verbs=(
            "check the {t}", "see whether the {t} is {s}", "report how the {t} fares",
            "look at how the {t} is doing", "make sure the {t} is {s}", "test if the {t} is {s}",
            "verify that the {t} is {s}", "ping the {t}",
            "confirm that the {t} is {s}", "run a health check on the {t}", "probe the {t}",
            "find out if the {t} is {s}", "inspect the {t}", "tell me if the {t} responds",
        ),
        nouns=(
            "the {t} condition these days", "a sign of life from the {t}",
            "some word on the {t} status",
            "the uptime of the {t}", "the hours that the {t} has run", "a {t} check",
            "the state of the {t}", "the health of the {t}", "a report on how the {t} fares",
            "an update about the {t}", "the latest {t} status", "news of the {t}",
        ),
        questions=(
            "is the {t} {s}?", "is the {t} still {s}?", "is our {t} {s} at the moment?",
            "does the {t} work?", "how is the {t} doing?", "any trouble with the {t}?",
            "has the {t} gone down?", "are we {s}?", "is anything broken?", "are you still {s}?",
            "since when is the {t} {s}?",
            "{w} {w} the {t} {w}?", "{w} the {t} {w} {w} {s}?", "{w} {w} outage {w} {w}?",
            "{w} {w} uptime {w}?", "{w} {w} offline {w} {t}?", "{w} {w} {s} {w}?",
            "has the {t} {w} fallen over?", "I worry that the {t} {w} died.", "{t} ok?",
            "is anyone able to log in, or is the {t} {w}?", "was there a {t} incident {w}?",
            "is everything ok with the {t}?", "all good at the {t}?", "did the {t} crash?",
            "can people reach the {t}?", "is there an outage?", "everything fine over there?",
            "did the {t} stop?", "is it {s}?", "{t} {s}?", "{t} status?", "does the {t} respond?",
            "are there problems with the {t}?", "what state is the {t} in?", "did something fail?",
            "can the {t} be used now?", "nothing loads, is the {t} {s}?", "are our machines {s}?",
            "the {t} feels slow, is it {s}?", "will the {t} answer?", "has the {t} been {s} long?",
        ),
    )  # fmt: skip
