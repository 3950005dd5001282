"""Wordings of requests for rows of a table; `{v}` is the requested part."""

from collections.abc import Mapping

VERBS = (
    "read {c} from {t}{e}", "select {c} from the table {t}{e}",
    "list {c} of the {t} table{e}",
    "get {c} out of {t}{e}", "look up {c} in {t}{e}", "query {t} for {c}{e}",
    "pull {c} from the {t} table{e}", "load the columns {c} of {t}{e}",
    "show {c} from the {t} table{e}", "fetch {c} of {t}{e}",
    "extract {c} from table {t}{e}", "give me {c} in {t}{e}", "take {c} from {t}{e}",
    "return {c} from table {t}{e}", "search the table {t} for {c}{e}",
    "run a query on {t} for {c}{e}", "open the table {t} and print {c}{e}",
)  # fmt: skip
NOUNS = (
    "{c} from {t}{e}", "the {c} columns of {t}{e}", "{c} of table {t}{e}",
    "rows of {t} with {c}{e}", "the columns {c} in the {t} table{e}",
    "columns {c} out of table {t}{e}", "all {c} in {t}{e}", "data from {t}: {c}{e}",
    "the values of {c} from {t}{e}", "a query of {t} with {c}{e}", "the {t} table's {c}{e}",
)  # fmt: skip
QUESTIONS = (
    "what {c} are in {t}{e}?", "which {c} does {t} have{e}?",
    "in the table {t}, what are {c}{e}?", "from {t} I want {c}{e}.",
    "table {t}, columns {c}{e}", "SELECT {c} FROM {t}{e}",
    "{w} {w} table {t} {w} columns {c}{e}", "{w} {w} columns {c} {w} table {t}{e}",
    "{w} {w} rows of {t}: {c}{e}", "{w} the {t} table: {w} {w} {c}{e}",
    "for the {w}: {c} from {t}{e}", "who {w} here? {c} out of {t}{e}",
    "the {w} wants {c} (table {t}){e}", "table {t}; columns {c}{e}",
    "in {t}, what {c} are stored{e}?", "{t}: {c}{e}", "could I see {c} of {t}{e}?",
    "from the database table {t}, {c}{e}", "database question: {c} in {t}{e}",
    "which {c} are listed in {t}{e}?", "table {t}. Columns: {c}{e}",
    "the table is {t}, the columns are {c}{e}", "with the table {t}: give {c}{e}",
    "table {t}, column names {c}{e}", "my database has {t}. I want its {c}{e}",
)  # fmt: skip

JOINTS = (
    "/", " / ", " & ", "; ", " + ", "+", " | ", " as well as ", " plus ", ", plus ", " and also ",
    " together with ", " und ", " et ", " y ", " along with ", ", and also ", ";",
)  # fmt: skip
"""Separators between columns, or before the last column."""

WISHES: Mapping[str, tuple[str, ...]] = {
    "f": (
        " where {v}", ", only where {v}", " with {v}", ", condition {v}", " if {v}",
        ", filter: {v}", " filtered by {v}", ", filter {v}", " for which {v}",
        ", under the condition {v}", " whenever {v}", ", but only if {v}", ", given {v}",
        " such that {v}", ", where {v} holds", " matching {v}", ", restricted to {v}",
        " (where {v})", ", filter on {v}", " having {v}", ", provided that {v}",
        ", only rows with {v}", ", keep only {v}", ", for rows in which {v}", " WHERE {v}",
        ", as long as {v}", ", with the filter {v}", ", using the filter {v}", " (filter: {v})",
        ", only those with {v}", ", the condition being {v}", ", but just where {v}",
    ),
    "o": (
        " sorted by {v}", ", ordered by {v}", " order by {v}", ", sort by {v}", ", in order of {v}",
        ", arranged by {v}", ", sorting by {v}", " (sorted by {v})", ", sorted on {v}",
        " ORDER BY {v}", ", ranked by {v}", ", in {v} order", ", the order being {v}",
        ", order them by {v}", ", sorted according to {v}", ", with {v} as the sort key",
        ", put in order by {v}", ", sortiert nach {v}", ", lined up by {v}", ", order: {v}",
        ", and sort the rows by {v}", ", using {v} for the order", ", ordering on {v}",
    ),
    "l": (
        ", at most {v} rows", " limit {v}", ", limit {v}", ", first {v} rows", ", no more than {v}",
        ", just {v} of them", ", max {v}", ", {v} rows", ", top {v}", ", {v} only", ", {v} results",
        ", maximum {v}", ", up to {v} rows", " ({v} rows)", ", not more than {v} rows",
        ", {v} will do", ", capped at {v}", ", the first {v}", ", no more than {v} rows",
        ", stop after {v}", " LIMIT {v}", ", a maximum of {v}", ", only {v} results",
        ", {v} entries", ", {v} lines at most", ", row limit {v}", ", limited to {v}",
        ", and {v} rows are plenty", ", {v} max", " (max {v})", ", limit of {v}", ", {v} rows tops",
    ),
}  # fmt: skip
"""Requirements after a request: for the filter, the order and the limit."""

SENTENCES: Mapping[str, tuple[str, ...]] = {
    "t": (
        "Look in {v}", "Use the {v} table", "The table is {v}", "It is all in {v}", "Table: {v}",
        "Everything sits in {v}", "Please query {v}", "Open the table {v}", "Search in {v}",
        "The data lives in {v}", "Take the table named {v}", "Check the {v} table", "Go to {v}",
        "The table to read is {v}", "Read from {v}", "You find it in {v}", "Die Tabelle heißt {v}",
        "La table est {v}", "La tabla es {v}", "I mean the table {v}", "Consult {v}",
    ),
    "c": (
        "I need {v}", "Please show {v}", "Give me {v}", "Get {v}", "The columns are {v}",
        "Columns: {v}", "Return {v}", "I only want {v}", "Just {v}", "Show me {v}", "Select {v}",
        "The fields I want are {v}", "Please read {v}", "What I need is {v}", "I'd like {v}",
        "I am after {v}", "Fetch {v}", "Ich brauche {v}", "Je veux {v}", "Quiero {v}", "List {v}",
        "I want to see {v}", "Read out {v}", "The interesting columns are {v}", "Bring {v}",
    ),
    "f": (
        "Only where {v}", "Filter: {v}", "The condition is {v}", "Keep rows with {v}",
        "Only rows where {v}", "Filter by {v}", "Use the filter {v}", "Take only those with {v}",
        "Condition: {v}", "It must hold that {v}", "Drop all rows except where {v}", "WHERE {v}",
        "The filter should be {v}", "I only care about {v}", "Filtere mit {v}", "Filtre : {v}",
        "Restrict it to {v}", "The filter text is {v}", "Rows must meet {v}", "Apply {v} as filter",
    ),
    "o": (
        "Sort by {v}", "Order them by {v}", "Sort the rows by {v}", "Order: {v}", "Order by {v}",
        "Put them in order of {v}", "Sorted by {v}, please", "The sort column is {v}",
        "Arrange them by {v}", "{v} is what to sort by", "Use {v} to sort", "They go by {v}",
        "Sortiere nach {v}", "Trie par {v}", "Ordena por {v}", "The order is by {v}",
        "I want them ordered by {v}", "Sort key: {v}", "Rank them by {v}", "Sorting: {v}",
    ),
    "l": (
        "At most {v} rows", "Stop after {v} rows", "Limit: {v}", "{v} rows are enough", "Limit {v}",
        "I only need {v} rows", "No more than {v}", "Give me {v} rows", "Only the first {v}",
        "Not more than {v} rows", "{v} will do", "The limit is {v}", "{v} rows, please",
        "Show {v} of them", "Maximum {v}", "Höchstens {v}", "{v} lignes au plus", "Máximo {v}",
        "Cap it at {v}", "Cut it off at {v} rows", "Don't return more than {v}", "Just {v} rows",
    ),
}  # fmt: skip
"""Sentences without their full stop: for table, columns, filter, order and limit."""

CLAUSES: Mapping[str, tuple[str, ...]] = {
    "t": ("table {v}", "from {v}", "from table {v}", "table: {v}", "in {v}", "the {v} table",
          "tbl {v}", "table = {v}", "table name {v}", "from the table {v}", "source {v}"),
    "c": ("columns {v}", "cols {v}", "show {v}", "columns: {v}", "fields {v}", "select {v}",
          "just {v}", "get {v}", "I need {v}", "give me {v}", "the columns {v}", "read {v}"),
    "f": ("where {v}", "filter {v}", "filter: {v}", "only if {v}", "condition {v}", "with {v}",
          "only rows with {v}", "for {v}", "filter = {v}", "rows where {v}", "WHERE {v}"),
    "o": ("sorted by {v}", "order by {v}", "sort {v}", "by {v}", "order: {v}", "sort: {v}",
          "ordered by {v}", "sort by {v}", "sort column {v}", "in order of {v}", "ORDER BY {v}"),
    "l": ("limit {v}", "{v} rows", "max {v}", "limit: {v}", "first {v}", "at most {v}", "top {v}",
          "up to {v} rows", "{v} rows only", "no more than {v}", "limit = {v}", "max {v} rows"),
}  # fmt: skip
"""Short forms of the same."""

LEADS: Mapping[str, tuple[str, ...]] = {
    "f": ("Where {v}: ", "For rows with {v}: ", "Only if {v}: ", "Filter {v}. ", "When {v}: ",
          "Under the condition {v}: ", "Restricted to {v}: ", "With the filter {v}: ",
          "Filter first, by {v}. ", "Only where {v}, please. "),
    "o": ("Sorted by {v}: ", "In {v} order: ", "Ordered by {v}: ", "Sort by {v}. ", "By {v}: ",
          "Order by {v}: ", "In the order of {v}: ", "I want it sorted by {v}. "),
    "l": ("Limit {v}: ", "At most {v} rows: ", "{v} rows, please: ", "First {v} rows: ",
          "No more than {v} rows: ", "Limit of {v}. ", "Max {v}: ", "Only {v} rows. ",
          "I can take {v} rows. ", "Up to {v} results: ", "{v} rows will do. "),
}  # fmt: skip
"""Requirements before a request."""

LABELS: Mapping[str, tuple[str, ...]] = {
    "t": ("Table", "Table", "Table", "From", "Source", "Tab", "Table name", "Tabelle", "Tabla"),
    "c": ("Columns", "Columns", "Columns", "Cols", "Fields", "Select", "Show", "Spalten", "Column"),
    "f": ("Condition", "Filter", "Filter", "Where", "Where", "Rows where", "Only if", "Bedingung"),
    "o": ("Order", "Order by", "Sort", "Sort by", "Sorted by", "Sort column", "Ordering"),
    "l": ("Limit", "Limit", "Max rows", "Rows", "Maximum", "At most", "Row limit", "Max"),
}
"""Labels of a form."""

HEADS = (
    "Please run this query.", "New request:", "Database look-up:", "Query, please:", "Hello!",
    "I need some rows:", "Could you get me this?", "For the {w} report:", "Request from {w}:",
    "Data wanted", "query", "Look this up:", "Here is what I want:", "Thanks for doing this one.",
    "Abfrage:", "Requête :", "Consulta:", "As we said about the {w}:", "Read the database:",
)  # fmt: skip
"""Lines above a form."""

ABOVE_A_LIST = (
    "From {t} I need these columns:", "Columns to read from {t}:", "Table {t}, columns:",
    "Please select from {t}:", "I want the following out of the table {t}:", "{t} table, show:",
    "Query {t} for", "Get me these fields of {t}:", "Read the table {t}. Columns:", "{t}:",
    "Which rows are in {t}? Show only:", "Bitte aus {t} lesen:", "Dans {t}, les colonnes :",
    "De {t} quiero:", "Could you read these from {t}?", "Fields wanted from table {t}:",
)  # fmt: skip
"""Requests above a list of columns, one per line."""

OPENERS = (
    "The headmaster asks about rooms that are too small.", "A guest complained about noise.",
    "The auditors come tomorrow and want everything.", "My brother keeps forgetting passwords.",
    "We lost a parcel again.", "I have to write to the mayor about the trees in the park.",
    "The coach wonders who runs fastest.", "Some cows look ill.", "Our boiler is broken.",
    "The printer jammed while I made the list of prices.", "The vet will call at noon.",
    "There was a row about overtime.", "Somebody parked in front of the gate.",
    "The captain needs to know what is on board.", "The newspaper writes about our museum.",
    "My aunt thinks we sell too cheap.", "The bank wants to see numbers.", "It snowed all night.",
    "The kitchen ran out of rice.", "I am preparing a talk about whales.", "A fan asked me this.",
    "The union asks about shifts.", "We had an alarm last night.", "Marketing has an idea.",
    "Every Monday I look at the same thing.", "The nurse at the desk asked me.", "Hi there.",
    "The new girl from sales can't log in.", "Half of the bulbs in hall {w} are dead.",
    "The {w} people ask about {w} and {w}.", "My {w} report is about the {w}.", "Help!",
    "Do you remember the {w} affair?", "This is about the {w}, not the {w}.", "Next, the {w}.",
    "The minister's office rang about the bridges.", "The band plays on Friday.",
    "Half the class was absent.", "I promised the landlord an overview.", "Data please.",
    "The insurance asks what was damaged.", "Grandma wants to know what became of her hens.",
    "The satellite is silent.", "I can't sleep because of those numbers.", "Good evening!",
    "There might be duplicates.", "The intern deleted a sheet.", "Two trucks are late.",
    "Nobody told me how the till works.", "Dear colleague, I sit here without my glasses.",
)  # fmt: skip
"""Text before a request, about things that are not part of it."""
