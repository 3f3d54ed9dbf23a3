//! What an expression found when it is not true, in words: the values that it compared. For the owner of a policy, never for its counterparty.

use super::{
    Budget, Context, Failure, Program, Val,
    eval::Evaluator,
    function::{Function, Kind},
    functions,
    node::Node,
    value::Evaluated,
};
use cellspace_schemas::odrl::AtomicConstraint;
use std::cell::Cell;

/// Comparisons told of one expression at most.
const TOLD: usize = 4;
/// Characters told of one value at most.
const CHARACTERS: usize = 80;
/// Elements told of one list at most.
const ELEMENTS: usize = 8;

impl Program {
    /// The comparisons that kept the expression from being true, with the values on both sides; empty when it compares nothing, or takes too long.
    #[must_use]
    pub fn found<'a>(&'a self, this: &'a AtomicConstraint, context: &Context<'a>) -> Vec<String> {
        self.found_within(this, context, &Budget::default())
    }

    pub(super) fn found_within<'a>(&'a self, this: &'a AtomicConstraint, context: &Context<'a>, budget: &Budget) -> Vec<String> {
        let mut finder = Finder { this, context, budget, exhausted: Cell::new(false), found: Vec::new() };
        finder.look(self.root());
        if finder.exhausted.get() { Vec::new() } else { finder.found }
    }
}

struct Finder<'c, 'a> {
    this: &'a AtomicConstraint,
    context: &'c Context<'a>,
    budget: &'c Budget,
    /// What was told since is not what is there.
    exhausted: Cell<bool>,
    found: Vec<String>,
}

impl<'a> Finder<'_, 'a> {
    fn value(&self, node: &'a Node) -> Evaluated<'a> {
        let value = Evaluator::of(Some(self.this), self.context, self.budget).eval(node);
        self.exhausted.set(self.exhausted.get() || matches!(value, Err(Failure::Budget)));
        value
    }

    fn told(&self, node: &'a Node) -> String {
        self.value(node).map_or_else(|_| "nothing".to_owned(), |value| told(&value))
    }

    fn look(&mut self, node: &'a Node) {
        if self.found.len() >= TOLD {
            return;
        }
        match node {
            Node::Shared(node) => self.look(node),
            // Of an "and" the first side that is not true decides, of an "or" neither side is.
            Node::Joined { sides, decided_by: false } => {
                let [left, right] = sides.as_ref();
                let decides = if matches!(self.value(left), Ok(Val::Bool(true))) { right } else { left };
                self.look(decides);
            }
            Node::Joined { sides, decided_by: true } => sides.iter().for_each(|side| self.look(side)),
            Node::Conditional { parts, .. } => {
                let [condition, yes, no] = parts.as_ref();
                let taken = if matches!(self.value(condition), Ok(Val::Bool(true))) { yes } else { no };
                self.look(taken);
            }
            Node::Call(function, values) => self.call(*function, values),
            Node::Constant(_)
            | Node::This
            | Node::Ctx
            | Node::Now
            | Node::Local(_)
            | Node::Field(..)
            | Node::Has(..)
            | Node::List(_)
            | Node::Map(_)
            | Node::Loop(_)
            | Node::NotStrictlyFalse(_) => {}
        }
    }

    fn call(&mut self, function: Function, values: &'a [Node]) {
        let found = match (function, values) {
            (Function::HasClaim, [credentials, name, ..]) => {
                let (Ok(credentials), Ok(name)) = (self.value(credentials), self.value(name)) else { return };
                let (label, now) = (told(&name), self.context.now());
                let claims = functions::call(Function::Claims, &[credentials, name], now, self.budget);
                claims.map_or_else(|_| format!("no claim {label}"), |claims| format!("claim {label} in {}", told(&claims)))
            }
            (function, [left, right]) if function.result() == Kind::Boolean && !function.is_helper() => {
                let operator = function.name().trim_matches(|c| matches!(c, '_' | '@'));
                format!("{} {operator} {}", self.told(left), self.told(right))
            }
            _ => return,
        };
        self.found.push(found);
    }
}

/// A value in a few words.
fn told(value: &Val<'_>) -> String {
    match value {
        Val::Null => "nothing".to_owned(),
        Val::Bool(flag) => flag.to_string(),
        Val::Int(number) => number.to_string(),
        Val::Double(number) => number.to_string(),
        Val::Text(text) => {
            let short: String = text.chars().take(CHARACTERS).collect();
            let rest = if short.len() < text.len() { "…" } else { "" };
            format!("{short:?}{rest}")
        }
        Val::Time(time) => time.to_rfc3339(),
        Val::Span(millis) => format!("{millis} ms"),
        list @ (Val::Array(_) | Val::List(_)) => {
            let size = list.size().unwrap_or_default();
            let mut parts: Vec<String> = list.elements().into_iter().flatten().take(ELEMENTS).map(|element| short(&element)).collect();
            if size > parts.len() {
                parts.push("…".to_owned());
            }
            format!("[{}]", parts.join(", "))
        }
        Val::Object(_) | Val::Record(_) | Val::This(_) => "an object".to_owned(),
    }
}

/// An element of a list: lists in it are not opened.
fn short(value: &Val<'_>) -> String {
    match value {
        Val::Array(_) | Val::List(_) => "a list".to_owned(),
        other => told(other),
    }
}
