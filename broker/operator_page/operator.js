// The operator's page: asks the API with the key that was typed, and shows tables. Text only, never markup.
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
    path: (after) => `/v1/accounts?limit=${PAGE}&after=${encodeURIComponent(after)}`,
    rows: (reply) => reply.accounts,
    columns: {
      Account: (row) => row.account, Status: (row) => row.status,
      Limit: (row) => number(money(row.limit_minor, row.currency)),
      Held: (row) => number(money(row.held_minor, row.currency)),
      Owed: (row) => number(money(row.owed_minor, row.currency)),
    },
  },
  Visits: {
    about: "Holds: what was reserved at entry and what became of it at exit.",
    path: (after) => `/v1/holds?limit=${PAGE}&after=${encodeURIComponent(after)}`,
    rows: (reply) => reply.holds,
    columns: {
      Visit: (row) => row.visit, Store: (row) => row.store, Account: (row) => row.account,
      Status: (row) => row.status, Held: (row) => number(money(row.amount_minor, row.currency)),
      Captured: (row) => number(money(row.captured_minor, row.currency)),
      Since: (row) => time(row.created_s), Reason: (row) => row.reason,
    },
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

async function ask(path) {
  const reply = await fetch(path, { headers: { Authorization: `Bearer ${state.key}` }, cache: "no-store" });
  const body = await reply.json();
  if (!reply.ok) throw new Error(`${reply.status} ${body.title}: ${body.detail}`);
  return body;
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

function cell(tag, value) {
  return typeof value === "object" ? element(tag, value.text, "number") : element(tag, value);
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
    line.append(...names.map((name) => cell("td", view.columns[name](row))));
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
  byId("about").textContent = view.about;
  byId("next").disabled = !reply.more;
  byId("first").disabled = !after;
  fill(view, view.rows(reply));
  for (const button of byId("views").querySelectorAll("button")) {
    if (button.textContent === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
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
  const button = element("button", name);
  button.type = "button";
  button.addEventListener("click", () => tried(() => show(name)));
  item.append(button);
  byId("views").append(item);
}
