//! The work of the demo: a small Python package that the agents build, task by task.
//!
//! Every edit appends lines to a file, so that what must be in the end result can be said beforehand, in whatever order
//! the tasks are done. Two kinds of files are fought over: modules that several tasks add to, and the files that nearly
//! all of them must edit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a task is about. It travels through the queue: the agents know nothing else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// Its name.
    pub name: String,
    /// What it adds, in a few words.
    pub summary: String,
    /// The names of the tasks that must be done first.
    pub needs: Vec<String>,
    /// Edits of modules.
    pub edits: Vec<Edit>,
    /// Edits of files that nearly everyone edits: locked as late and held as short as possible.
    pub shared: Vec<Edit>,
    /// Does the first agent that tries it come to a violent end?
    pub fatal: bool,
}

/// Lines to append to a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Edit {
    /// The file, from the top of the work tree.
    pub path: String,
    /// The lines.
    pub lines: Vec<String>,
}

impl Edit {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), lines: text.trim_start_matches('\n').lines().map(str::to_owned).collect() }
    }
}

const EXPORTS: &str = "shop/__init__.py";
const CHANGELOG: &str = "CHANGELOG.md";
const README: &str = "README.md";

/// What the repository begins with.
pub fn base() -> Vec<Edit> {
    vec![
        Edit::new(EXPORTS, "\"\"\"A small shop, built by several agents at once.\"\"\"\n\n"),
        Edit::new(CHANGELOG, "# Changelog\n\n## Unreleased\n\n"),
        Edit::new(README, "# shop\n\nA small shop, built by several agents at once.\n\n"),
    ]
}

/// The tasks, each after those it needs.
pub fn works() -> Vec<Work> {
    vec![
        work("money", &[], "amounts in cents", MONEY).exported(),
        work("storage", &[], "tables in memory", STORAGE).exported(),
        work("errors", &[], "what can go wrong, by name", ERRORS).exported(),
        work("products", &["storage", "money"], "what is for sale", PRODUCTS).exported().logged(),
        work("users", &["storage", "errors"], "accounts", USERS).exported().logged(),
        work("search", &["products"], "find a product by its name", SEARCH).logged().told(),
        work("cart", &["users", "products"], "what a user means to buy", CART).logged().fatal(),
        work("auth", &["users"], "passwords", AUTH).also("shop/users.py", USERS_AUTH).logged(),
        work("stock", &["products"], "how much of it is there", STOCK)
            .also("shop/products.py", PRODUCTS_STOCK)
            .logged(),
        work("reviews", &["users", "products"], "what users think of it", REVIEWS)
            .also("shop/products.py", PRODUCTS_REVIEWS)
            .logged(),
        work("mail", &["users"], "letters to users", MAIL).logged().told(),
        work("coupons", &["money"], "a little off the price", COUPONS).logged(),
        work("orders", &["cart", "stock"], "a cart becomes an order", ORDERS).logged(),
        work("payment", &["orders"], "an order is paid for", PAYMENT).also("shop/orders.py", ORDERS_PAYMENT).logged(),
        work("refunds", &["orders", "mail"], "money goes back", REFUNDS).logged().told(),
        work("api", &["orders", "auth", "search"], "all of it for programs", API).logged().told(),
    ]
}

/// The lines that each file must hold in the end, sorted: the order of edits is the agents' affair.
pub fn expected() -> BTreeMap<String, Vec<String>> {
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let works = works();
    let edits = works.iter().flat_map(|work| work.edits.iter().chain(&work.shared));
    for edit in base().iter().chain(edits) {
        files.entry(edit.path.clone()).or_default().extend(edit.lines.iter().cloned());
    }
    files.values_mut().for_each(|lines| lines.sort());
    files
}

fn work(name: &str, needs: &[&str], summary: &str, module: &str) -> Work {
    Work {
        name: name.into(),
        summary: summary.into(),
        needs: needs.iter().map(|&name| name.to_owned()).collect(),
        edits: vec![Edit::new(&format!("shop/{name}.py"), module)],
        shared: vec![],
        fatal: false,
    }
}

impl Work {
    fn also(mut self, path: &str, text: &str) -> Self {
        self.edits.push(Edit::new(path, text));
        self
    }

    fn exported(mut self) -> Self {
        let line = format!("from . import {}", self.name);
        self.shared.push(Edit::new(EXPORTS, &line));
        self
    }

    fn logged(mut self) -> Self {
        let line = format!("- {}: {}", self.name, self.summary);
        self.shared.push(Edit::new(CHANGELOG, &line));
        self
    }

    fn told(mut self) -> Self {
        let line = format!("`shop.{}`: {}.", self.name, self.summary);
        self.shared.push(Edit::new(README, &line));
        self
    }

    fn fatal(mut self) -> Self {
        self.fatal = true;
        self
    }
}

const MONEY: &str = r#"
"""Amounts in cents, never in floats."""


def cents(text):
    units, _, rest = text.partition(".")
    return int(units) * 100 + int(rest.ljust(2, "0")[:2])


def shown(amount):
    return f"{amount // 100}.{amount % 100:02d}"
"#;

const STORAGE: &str = r#"
"""Tables in memory."""

TABLES = {}


def table(name):
    return TABLES.setdefault(name, {})
"#;

const ERRORS: &str = r#"
"""What can go wrong, by name."""


class NotFound(Exception):
    code = "not_found"


class NotAllowed(Exception):
    code = "not_allowed"
"#;

const USERS: &str = r#"
"""Accounts."""

from .errors import NotFound
from .storage import table


def add_user(name):
    table("users")[name] = {"name": name}


def find_user(name):
    if name not in table("users"):
        raise NotFound(name)
    return table("users")[name]
"#;

const PRODUCTS: &str = r#"
"""What is for sale."""

from .money import cents
from .storage import table


def add_product(name, price):
    table("products")[name] = {"name": name, "price": cents(price)}


def find_product(name):
    return table("products")[name]
"#;

const AUTH: &str = r#"
"""Passwords."""

from hashlib import scrypt

from .users import find_user


def is_allowed(name, password):
    user = find_user(name)
    given = scrypt(password.encode(), salt=user["salt"], n=2**14, r=8, p=1)
    return user["password"] == given
"#;

const USERS_AUTH: &str = r#"


def set_password(name, salt, password):
    find_user(name).update(salt=salt, password=password)
"#;

const STOCK: &str = r#"
"""How much of it is there."""

from .storage import table


def put(product, count):
    table("stock")[product] = table("stock").get(product, 0) + count


def take(product, count):
    put(product, -count)
"#;

const PRODUCTS_STOCK: &str = r#"


def is_available(name):
    return table("stock").get(name, 0) > 0
"#;

const CART: &str = r#"
"""What a user means to buy."""

from .products import find_product
from .users import find_user


def put(user, product):
    find_user(user).setdefault("cart", []).append(product)


def total(user):
    cart = find_user(user).get("cart", [])
    return sum(find_product(name)["price"] for name in cart)


def emptied(user):
    return find_user(user).pop("cart", [])
"#;

const SEARCH: &str = r#"
"""Find a product by its name."""

from .storage import table


def search(text):
    return sorted(name for name in table("products") if text in name)
"#;

const REVIEWS: &str = r#"
"""What users think of it."""

from .storage import table


def review(user, product, stars):
    table("reviews").setdefault(product, {})[user] = stars
"#;

const PRODUCTS_REVIEWS: &str = r#"


def stars(name):
    given = table("reviews").get(name, {}).values()
    return sum(given) / len(given) if given else None
"#;

const COUPONS: &str = r#"
"""A little off the price."""

PERCENT = {"SPRING": 10, "MOVING-OUT": 50}


def reduced(amount, coupon):
    return amount * (100 - PERCENT.get(coupon, 0)) // 100
"#;

const MAIL: &str = r#"
"""Letters to users."""

from .storage import table


def write_to(user, text):
    table("letters").setdefault(user, []).append(text)
"#;

const ORDERS: &str = r#"
"""A cart becomes an order."""

from . import cart, stock
from .storage import table


def place(user):
    order = {"user": user, "total": cart.total(user)}
    order["products"] = cart.emptied(user)
    for product in order["products"]:
        stock.take(product, 1)
    table("orders")[len(table("orders"))] = order
    return order
"#;

const PAYMENT: &str = r#"
"""An order is paid for."""

from .errors import NotAllowed


def pay(order, amount):
    if amount < order["total"]:
        raise NotAllowed("too little")
    order["paid"] = amount
"#;

const ORDERS_PAYMENT: &str = r#"


def unpaid():
    return [order for order in table("orders").values() if "paid" not in order]
"#;

const API: &str = r#"
"""All of it for programs."""

from . import auth, orders, search

ROUTES = {
    "GET /products": search.search,
    "POST /login": auth.is_allowed,
    "POST /orders": orders.place,
}
"#;

const REFUNDS: &str = r#"
"""Money goes back."""

from .mail import write_to
from .money import shown


def refund(order):
    amount = order.pop("paid")
    write_to(order["user"], f"You get {shown(amount)} back.")
    return amount
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_need_only_earlier_ones_and_one_is_fatal_in_a_shared_file() {
        let works = works();
        for (at, work) in works.iter().enumerate() {
            for need in &work.needs {
                assert!(works[..at].iter().any(|earlier| earlier.name == *need), "{} needs {need}", work.name);
            }
            assert!(!work.shared.is_empty(), "{}", work.name);
        }
        assert_eq!(works.iter().filter(|work| work.fatal).count(), 1);
    }
}
