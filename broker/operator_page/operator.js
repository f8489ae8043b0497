// The operator's page: asks the API with the key that was typed, and shows what it says. Text only, never markup.
"use strict";

const EXPONENT = { JPY: 0, KWD: 3 };
const PAGE = 50;
const byId = (id) => document.getElementById(id);
const money = (minor, currency) => {
  const digits = EXPONENT[currency] ?? 2;
  return `${(minor / 10 ** digits).toFixed(digits)} ${currency}`;
};
const time = (seconds) => new Date(seconds * 1000).toISOString().replace(".000Z", "Z").replace("T", " ");
const number = (text) => ({ text, number: true });
const percent = (permille) => (permille < 0 ? "" : `${(permille / 10).toFixed(1)} %`);
const page = (path, after) => `${path}?limit=${PAGE}&after=${encodeURIComponent(after)}`;

// Each view: what to ask, which list is in the answer, and its columns.
const VIEWS = {
  Books: {
    about: "Balances of one currency; debits are positive. Their sum is zero.",
    path: () => "/v1/books",
    rows: (reply) => Object.entries(reply.balances).map(([account, minor]) => ({ account, minor, currency: reply.currency })),
    columns: { Account: (row) => row.account, Balance: (row) => number(money(row.minor, row.currency)) },
  },
  Accounts: {
    about: "Shoppers: their limit, what is held and owed.",
    path: (after) => page("/v1/accounts", after),
    rows: (reply) => reply.accounts,
    columns: {
      Account: (row) => row.account, Status: (row) => row.status,
      Limit: (row) => number(money(row.limit_minor, row.currency)),
      Held: (row) => number(money(row.held_minor, row.currency)),
      Owed: (row) => number(money(row.owed_minor, row.currency)),
    },
  },
  Trips: {
    about: "Visits that the broker leads from the gate to the receipt. What is owed was not captured.",
    path: (after) => page("/v1/trips", after),
    rows: (reply) => reply.trips,
    columns: {
      Trip: (row) => row.trip, Merchant: (row) => row.merchant, Store: (row) => row.store,
      State: (row) => row.state, Purchase: (row) => row.purchase,
      Price: (row) => number(money(row.total_minor, row.currency)),
      Captured: (row) => number(money(row.captured_minor, row.currency)),
      "Above shelf": (row) => number(row.above_shelf_minor ? money(row.above_shelf_minor, row.currency) : ""),
      Since: (row) => time(row.created_s),
    },
  },
  Holds: {
    about: "What was reserved at entry and what became of it at exit.",
    path: (after) => page("/v1/holds", after),
    rows: (reply) => reply.holds,
    columns: {
      Visit: (row) => row.visit, Store: (row) => row.store, Account: (row) => row.account,
      Status: (row) => row.status, Held: (row) => number(money(row.amount_minor, row.currency)),
      Captured: (row) => number(money(row.captured_minor, row.currency)),
      Since: (row) => time(row.created_s), Reason: (row) => row.reason,
    },
  },
  Statements: {
    about: "Small purchases gathered for one charge: what they come to, and what is to be collected.",
    path: (after) => page("/v1/statements", after),
    rows: (reply) => reply.statements,
    columns: {
      Statement: (row) => row.statement, Buyer: (row) => row.account, State: (row) => row.state,
      Purchases: (row) => number(String(row.purchases.length)),
      Total: (row) => number(money(row.total_minor, row.currency)),
      Due: (row) => number(money(row.due_minor, row.currency)),
      Invoices: (row) => row.invoices.join(", "), Since: (row) => time(row.opened_s),
    },
  },
  Disputes: {
    about: "What shoppers contest, with what the store knew of each line and what was seen since.",
    path: (after) => page("/v1/disputes", after),
    rows: (reply) => reply.disputes,
    card: disputeCard,
  },
  Debts: {
    about: "What a visit could not be charged. Its account is not let in until it is paid.",
    path: (after) => page("/v1/debts", after),
    rows: (reply) => reply.debts,
    columns: {
      Trip: (row) => row.trip, Account: (row) => row.account, Merchant: (row) => row.merchant,
      State: (row) => row.state, Debt: (row) => number(money(row.amount_minor, row.currency)),
      Recovered: (row) => number(money(row.recovered_minor, row.currency)),
      Forgiven: (row) => number(money(row.forgiven_minor, row.currency)),
    },
  },
  Queue: {
    about: "Webhooks that merchants and sponsors wait for. A parked group stops alone until somebody decides.",
    path: () => "/v1/queue",
    rows: (reply) => reply.held,
    card: groupCard,
    summary: (reply) => `${reply.depth + reply.untold} wait${reply.oldest_s ? `, the oldest since ${time(reply.oldest_s)}` : ""}; `
      + `parked groups: ${reply.held.length}; endpoints that are off: ${reply.disabled.join(", ") || "none"}.`,
  },
  Captures: {
    about: "Purchases that were charged, in the order of their journals.",
    path: (after) => `/v1/captures?limit=${PAGE}&after=${after || 0}`,
    rows: (reply) => reply.captures,
    columns: {
      Journal: (row) => number(String(row.journal)), Purchase: (row) => row.purchase,
      Merchant: (row) => row.merchant, Account: (row) => row.account,
      Amount: (row) => number(money(row.amount_minor, row.currency)),
    },
  },
  Audit: {
    about: "Who did what. Refusals are counted and come a few seconds later.",
    path: (after) => `/v1/audit?limit=${PAGE}&after=${after || 0}`,
    rows: (reply) => reply.entries,
    columns: {
      When: (row) => time(row.at_s), Who: (row) => row.actor || "no known key", What: (row) => row.action,
      On: (row) => row.object, Status: (row) => number(String(row.status || "")), Times: (row) => number(String(row.times)),
    },
  },
};

const state = { key: "", view: "Books", after: "" };

async function ask(path, body) {
  const headers = { Authorization: `Bearer ${state.key}` };
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  if (body !== undefined) {
    const chance = crypto.getRandomValues(new Uint8Array(16));
    headers["Idempotency-Key"] = Array.from(chance, (byte) => byte.toString(16).padStart(2, "0")).join("");
    headers["Content-Type"] = "application/json";
  }
  const reply = await fetch(path, { ...sent, headers, cache: "no-store" });
  const said = await reply.json();
  if (!reply.ok) throw new Error(`${reply.status} ${said.title}: ${said.detail}`);
  return said;
}

function element(tag, text, kind) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function verdict(good, text) {
  byId("verdict").replaceChildren(element("p", text, `verdict ${good ? "good" : "bad"}`));
}

function cell(tag, value, label) {
  const made = typeof value === "object" ? element(tag, value.text, "number") : element(tag, value);
  made.dataset.label = label; // beside the value where the screen is too narrow for a table
  return made;
}

function button(text, work, label) {
  const made = element("button", text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", () => tried(work));
  return made;
}

function facts(pairs) {
  const list = element("dl", "", "facts");
  for (const [name, value] of pairs) list.append(element("dt", name), element("dd", value));
  return list;
}

function card(title, badge, parts) {
  const made = element("article", "", "card");
  const head = element("header", "", "row");
  head.append(element("h3", title), element("span", badge, `badge ${badge}`));
  made.append(head, ...parts);
  return made;
}

// A dispute: its lines, each with the store's confidence and a box for the decision, and the evidence.
function disputeCard(row) {
  const open = row.state === "contested";
  const boxes = [];
  const lines = row.lines.map((line) => {
    const item = document.createElement("li");
    const label = document.createElement("label");
    if (open) {
      const box = document.createElement("input");
      Object.assign(box, { type: "checkbox", value: line.line_id });
      boxes.push(box);
      label.append(box);
    }
    label.append(element("strong", line.line_id), ` ${money(line.total_minor, row.currency)}`);
    if (!open) label.append(line.upheld ? " - given back" : " - stands");
    const sure = percent(line.confidence_permille);
    const known = [sure && `the store was ${sure} sure`, line.seen && `evidence ${line.seen}`].filter(Boolean).join("; ");
    item.append(label, element("div", known || "the store said nothing more of it", "soft"));
    return item;
  });
  const list = element("ul", "", "lines");
  list.append(...lines);
  const seen = element("ul", "", "lines");
  seen.append(...row.evidence.map((one) => {
    const item = element("li", one.said);
    item.append(element("div", `${one.by_whom}, ${time(one.at_s)}`, "soft"));
    return item;
  }));
  const parts = [
    facts([["Shopper says", row.reason || "nothing"], ["Merchant", row.merchant], ["Capture", row.capture],
      ["Contested", money(row.asked_minor, row.currency)], ["Since", time(row.opened_s)],
      ...(open ? [] : [["Decided", `${money(row.upheld_minor, row.currency)} upheld. ${row.note}`]])]),
    element("h4", "Lines"), list, element("h4", "Evidence"),
    row.evidence.length ? seen : element("p", "none yet", "soft"),
  ];
  if (open) {
    const note = document.createElement("input");
    Object.assign(note, { type: "text", maxLength: 200, placeholder: "why, for the shopper's receipt" });
    note.setAttribute("aria-label", `Why dispute ${row.dispute} is decided so`);
    const decide = button("Give the checked lines back, let the others stand", async () => {
      const upheld = boxes.filter((box) => box.checked).map((box) => box.value);
      await ask(`/v1/disputes/${encodeURIComponent(row.dispute)}/decide`, { upheld, note: note.value });
      await show("Disputes");
    }, `Decide dispute ${row.dispute}`);
    const form = element("p", "", "row");
    form.append(note, decide);
    parts.push(form);
  }
  return card(row.dispute, row.state, parts);
}

// A parked group: what it waits with, and the three words that move it on.
function groupCard(row) {
  const said = async (verb, warning) => {
    if (warning && !confirm(warning)) return;
    await ask(`/v1/queue/groups/${encodeURIComponent(row.group)}/${verb}`, {});
    await show("Queue");
  };
  const words = element("p", "", "row");
  words.append(
    button("Try again", () => said("retry"), `Try ${row.group} again`),
    button("Skip this message", () => said("skip", `${row.endpoint} never gets ${row.kind} of ${row.about}. Skip it?`)),
    button("Give all up", () => said("cancel", `${row.endpoint} never gets these ${row.waiting} messages. Give them up?`)),
  );
  return card(row.group, "parked", [
    facts([["Message", `${row.kind} of ${row.about}`], ["Last answer", row.last_error || String(row.status)],
      ["Tries", String(row.attempts)], ["Waiting", `${row.waiting} messages`], ["Endpoint", row.endpoint]]),
    words,
  ]);
}

function fill(view, rows) {
  const names = Object.keys(view.columns);
  const head = document.createElement("tr");
  const sample = rows[0];
  head.append(...names.map((name) => {
    const right = sample && typeof view.columns[name](sample) === "object";
    return element("th", name, right ? "number" : "");
  }));
  document.querySelector("thead").replaceChildren(head);
  const body = rows.map((row) => {
    const line = document.createElement("tr");
    line.append(...names.map((name) => cell("td", view.columns[name](row), name)));
    return line;
  });
  if (!body.length) {
    const line = document.createElement("tr");
    const empty = element("td", "nothing here yet", "soft");
    empty.colSpan = names.length;
    line.append(empty);
    body.push(line);
  }
  document.querySelector("tbody").replaceChildren(...body);
}

async function show(name, after = "") {
  const view = VIEWS[name];
  const reply = await ask(view.path(after));
  Object.assign(state, { view: name, after: String(reply.after ?? "") });
  byId("title").textContent = name;
  byId("about").textContent = view.summary ? `${view.about} ${view.summary(reply)}` : view.about;
  byId("next").disabled = !reply.more;
  byId("first").disabled = !after;
  const rows = view.rows(reply);
  document.querySelector("table").hidden = Boolean(view.card);
  byId("cards").hidden = !view.card;
  if (view.card) {
    byId("cards").replaceChildren(...(rows.length ? rows.map(view.card) : [element("p", "nothing here: nobody has to decide", "soft")]));
  } else {
    fill(view, rows);
  }
  for (const one of byId("views").querySelectorAll("button")) {
    if (one.textContent === name) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
}

async function tried(work) {
  try {
    await work();
  } catch (error) {
    verdict(false, error.message);
  }
}

async function open() {
  const found = await ask("/v1/invariants");
  const broken = Object.entries(found.breaches);
  verdict(!broken.length, broken.length
    ? `Not sound: ${broken.map(([name, count]) => `${name} (${count})`).join("; ")}`
    : `The books are sound: ${found.asked} invariants hold.`);
  document.querySelector("nav").hidden = false;
  byId("sign-in").hidden = true;
  await show("Books");
}

byId("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  state.key = byId("key").value.trim();
  byId("key").value = "";
  byId("main").hidden = false;
  tried(open);
});
byId("next").addEventListener("click", () => tried(() => show(state.view, state.after)));
byId("first").addEventListener("click", () => tried(() => show(state.view)));
for (const name of Object.keys(VIEWS)) {
  const item = document.createElement("li");
  item.append(button(name, () => show(name)));
  byId("views").append(item);
}
