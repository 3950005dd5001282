"""Tables and their columns: typical ones of many fields, and arbitrary names."""

from random import Random
from typing import NamedTuple

from training.data import words

_TABLES = (
    "shops: shop_id name street city phone opening_hours manager rent",
    "purchases: purchase_id customer item quantity price paid_at discount",
    "articles: headline body author published_at section word_count views",
    "deliveries: id address courier parcel weight status delivered_at",
    "suppliers: supplier_id company contact country email rating",
    "coupons: code percent valid_from valid_until uses",
    "returns: return_no reason refund date clerk",
    "patients: patient_id surname birthday ward blood_type doctor allergies",
    "wards: ward floor beds nurse phone",
    "appointments: appointment_id patient doctor date time room duration",
    "prescriptions: drug dose frequency patient issued_at expires_at",
    "lab_results: sample test result unit taken_at lab",
    "surgeries: surgeon theatre start_time end_time procedure outcome",
    "pupils: pupil_id first_name last_name class birthday guardian",
    "teachers: name subject room email hired_at",
    "courses: course_code title credits lecturer semester seats",
    "exams: exam_id course mark date examiner",
    "lessons: lesson_no topic teacher day hour",
    "enrolments: pupil course enrolled_on fee",
    "passengers: passenger_id seat meal passport ticket gate",
    "airports: iata city country runways elevation",
    "trips: trip_id driver start finish distance fare passengers",
    "trains: train_no line departs arrives platform delay",
    "buses: plate_no route capacity fuel mileage",
    "stations: station zone opened platforms lift",
    "tickets: ticket_id subject priority assignee opened_at closed_at",
    "albums: album band released label tracks genre",
    "concerts: venue band date doors price sold_out",
    "musicians: name instrument band birthplace",
    "tracks: track_no name length album plays",
    "matches: home away goals_home goals_away stadium referee date",
    "players: player_id name team position goals age shirt",
    "teams: team coach founded stadium league points",
    "runners: bib name club time rank category",
    "races: race distance date winner country",
    "workouts: workout_id sport duration calories heart_rate day",
    "events: event_type level source message created_at request_id",
    "errors: code message stack host occurred_at severity",
    "access_log: ip path method status bytes timestamp agent",
    "jobs: job_id queue state attempts started_at finished_at",
    "metrics: metric value host recorded_at unit",
    "deployments: version environment author deployed_at commit",
    "backups: file size created_at checksum location",
    "fields: field crop hectares soil owner sown_on",
    "animals: tag breed born weight barn vet",
    "harvests: crop tons season field buyer",
    "milkings: cow litres date shift fat",
    "tractors: model horsepower bought_at hours driver",
    "beehives: hive queen_age honey_kg inspected_on",
    "hotels: hotel stars rooms city rate pool",
    "bookings: booking_id guest arrival departure room price paid",
    "rooms: room_no floor beds balcony rate",
    "guests: guest_id name nationality phone nights",
    "menu: dish price category spicy calories",
    "reservations: table_no party_size name time phone",
    "ingredients: ingredient unit stock allergen price",
    "wines: wine vintage region grape price cellar",
    "movies: movie director year rating runtime language",
    "actors: actor birth_year country agent",
    "reviews: review_id stars text reviewer created_at product",
    "loans: loan_id reader copy due_on fine",
    "readers: card_no name email joined_at",
    "paintings: painting artist year museum technique insured_value",
    "museums: museum city visitors opened director",
    "accounts: account_no holder balance currency opened_on branch",
    "transfers: transfer_id sender receiver amount booked_on reference",
    "expenses: expense_id category amount spent_on receipt",
    "salaries: person month gross net bonus",
    "shares: ticker price volume market closed_at",
    "contracts: contract_no client begins ends value",
    "policies: policy_no holder premium risk expires",
    "claims: claim_id policy damage amount settled",
    "houses: house street bedrooms area price garden built",
    "tenants: tenant flat rent deposit moved_in",
    "repairs: repair_id machine mechanic cost done_on",
    "machines: machine hall serial power serviced_at",
    "parts: part_no description stock supplier price weight",
    "batches: batch product produced_on quantity inspector",
    "shipments: shipment_id port vessel container eta weight",
    "ships: ship flag tonnage captain built",
    "trucks: truck driver load route fuel",
    "cars: brand model year mileage colour price",
    "members: member_no first_name last_name joined_on fee email",
    "volunteers: name phone skill hours team",
    "donations: donor amount date purpose receipt_no",
    "elections: district party votes turnout year",
    "cities: city mayor population area country",
    "countries: country capital population currency language",
    "mountains: mountain height range first_ascent country",
    "lakes: lake depth area country",
    "quakes: magnitude depth place quake_time",
    "observations: bird count place observed_at observer",
    "plants: plant family height colour bloom watered_at",
    "planets: planet mass radius moons distance",
    "stars: star constellation brightness distance",
    "experiments: experiment_id hypothesis result lab date",
    "samples: sample_no site ph salinity collected_at",
    "measurements: device value unit measured_at quality",
    "messages: sender recipient subject body sent_at read",
    "chats: chat_id topic members last_message",
    "posts: post_id title author likes comments posted_at",
    "comments: comment_id post author text created_at",
    "followers: user follower since",
    "photos: file camera iso taken_at album",
    "videos: video channel length views uploaded_at",
    "podcasts: show episode host minutes aired_on",
    "games: game studio platform released score price",
    "levels: level difficulty coins boss",
    "toys: toy age_from price maker",
    "letters: letter_no sender received_on answered",
    "meetings: subject room begins_at ends_at organiser",
    "tasks: task owner due priority done",
    "projects: project lead budget deadline status",
    "departments: department head floor headcount",
    "applicants: name position applied_at score notice",
    "shifts: worker begins ends break site",
    "warehouses: warehouse city capacity manager",
    "pallets: pallet shelf aisle weight",
    "prices: product price currency valid_from",
    "cats: name breed age chip owner",
    "kunden: kundennummer name ort umsatz",
    "bestellungen: nummer datum betrag kunde",
    "mitarbeiter: vorname nachname abteilung gehalt",
    "produits: nom prix stock fournisseur",
    "commandes: numero date montant client",
    "pedidos: numero fecha importe cliente",
    "alumnos: nombre apellido curso nota",
    "libri: titolo autore anno prezzo",
)
_COMMON = (
    "id", "name", "email", "title", "year", "price", "city", "date", "status", "amount", "type",
    "created_at", "updated_at", "duration", "message", "country", "phone", "age", "score", "notes",
    "description", "category", "total", "first_name", "last_name", "user_id", "address", "count",
    "value", "rank", "label", "code", "level", "time", "quantity", "rating", "currency", "weight",
)  # fmt: skip
_ODD_TABLES = (
    "order", "orders", "limit", "columns", "filter", "table", "rows", "data", "users", "weather",
    "weather_log", "temperatures", "languages", "services", "charts", "pages", "cities", "server",
    "uptime", "translations", "documents", "status_history", "rainfall", "backups", "notes_md",
)  # fmt: skip
_ODD_COLUMNS = (
    "temperature", "rain", "wind", "degrees", "city", "place", "language", "text", "html", "title",
    "status", "uptime", "state", "chart", "points", "limit", "order", "filter", "unit", "humidity",
    "health", "location", "markdown", "fahrenheit", "table", "condition", "value", "name", "date",
)  # fmt: skip
"""Names that resemble another tool, or another part of the request."""
_ADDED = ("_2024", "_archive", "_old", "_new", "_eu", "_v2", "_2023", "_tmp", "_backup", "_2")


class Scheme(NamedTuple):
    """A table with the columns that a request mentions."""

    table: str
    selected: tuple[str, ...]
    others: tuple[str, ...]
    """Columns that are not selected; at least one."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All known columns of the table."""
        return self.selected + self.others


def scheme(rng: Random) -> Scheme:
    """A table, one to five columns to select, and others."""
    table, columns = _named(rng)
    count = min(rng.choice((1, 2, 2, 2, 2, 3, 3, 3, 4, 5)), len(columns) - 1)
    rng.shuffle(columns)
    return Scheme(table, tuple(columns[:count]), tuple(columns[count:]))


def _named(rng: Random) -> tuple[str, list[str]]:
    draw = rng.random()
    if draw < 0.62:
        return _natural(rng)
    if draw < 0.7:
        table = rng.choice(_ODD_TABLES) if rng.random() < 0.7 else words.identifier(rng)
        return table, list(rng.sample(_ODD_COLUMNS, 6))
    table = words.identifier(rng) if rng.random() < 0.7 else _natural(rng)[0]
    columns = {words.identifier(rng): None for _ in range(rng.randint(3, 6))}
    if rng.random() < 0.3:
        columns |= dict.fromkeys(rng.sample(_COMMON, 2))
    return table, list(dict.fromkeys((*columns, "id", "name"))) if len(columns) < 2 else [*columns]


def _natural(rng: Random) -> tuple[str, list[str]]:
    table, _, rest = rng.choice(_TABLES).partition(": ")
    columns = rest.split()
    if rng.random() < 0.45:
        columns = columns[: rng.randint(1, 4)] + rng.sample(_COMMON, rng.randint(2, 4))
    columns = list(dict.fromkeys(columns))
    if rng.random() < 0.12:
        table += rng.choice(_ADDED)
    elif rng.random() < 0.06:
        table = f"{rng.choice(('public', 'shop', 'dbo', 'main', 'crm', 'raw'))}.{table}"
    return _styled(rng, table, columns)


def _styled(rng: Random, table: str, columns: list[str]) -> tuple[str, list[str]]:
    """The names in one naming style, usually unchanged."""
    draw = rng.random()
    if draw < 0.78:
        return table, columns
    if draw < 0.9:
        camel = [_camel(name) for name in columns]
        return (_camel(table) if "." not in table else table), camel
    if draw < 0.94:
        return table.upper(), [name.upper() for name in columns]
    if draw < 0.97:
        return table.capitalize(), [name.capitalize() for name in columns]
    return table.replace("_", "-"), [name.replace("_", "-") for name in columns]


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
