//! Evaluation of a compiled expression.

use super::{
    Budget, Context, Failure, Val, functions,
    node::{Loop, Node},
    value::Evaluated,
};
use cellspace_schemas::odrl::AtomicConstraint;
use std::{collections::BTreeMap, sync::Arc};

/// An evaluation on its way.
pub(super) struct Evaluator<'c, 'a> {
    /// `None` in what does not read it.
    this: Option<&'a AtomicConstraint>,
    context: &'c Context<'a>,
    budget: &'c Budget,
    /// Variables of macros, innermost last. The accumulator may hold a failure, which a later element can still overrule.
    bound: Vec<Evaluated<'a>>,
}

impl<'c, 'a> Evaluator<'c, 'a> {
    pub(super) const fn of(this: Option<&'a AtomicConstraint>, context: &'c Context<'a>, budget: &'c Budget) -> Self {
        Self { this, context, budget, bound: Vec::new() }
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Evaluated<'a> {
        if !matches!(node, Node::Shared(_)) {
            self.budget.take(1)?;
        }
        match node {
            Node::Shared(node) => self.context.value(node, self.budget),
            Node::Constant(constant) => Ok(constant.value()),
            Node::This => self.this.map(Val::This).ok_or_else(|| Failure::NoSuchKey("this".to_owned())),
            Node::Ctx => Ok(self.context.ctx().clone()),
            Node::Now => Ok(Val::Time(self.context.now())),
            Node::Local(place) => {
                self.bound.iter().rev().nth(*place).cloned().unwrap_or_else(|| Err(Failure::NoSuchKey(place.to_string())))
            }
            Node::Field(operand, field) => self.eval(operand)?.field(field).ok_or_else(|| Failure::NoSuchKey(field.to_string())),
            Node::Has(operand, field) => Ok(Val::Bool(self.eval(operand)?.field(field).is_some())),
            Node::List(nodes) => nodes.iter().map(|node| self.eval(node)).collect::<Result<_, _>>().map(Val::list),
            Node::Map(entries) => self.map(entries),
            Node::Loop(each) => self.each(each),
            Node::Joined { sides, decided_by } => self.joined(sides, *decided_by),
            Node::Conditional { parts, in_macro } => {
                let [condition, yes, no] = parts.as_ref();
                match self.eval(condition) {
                    Ok(Val::Bool(true)) => self.eval(yes),
                    Ok(Val::Bool(false)) => self.eval(no),
                    // An element that lacks what a filter asks for does not match it.
                    Err(Failure::NoSuchKey(_)) if *in_macro => self.eval(no),
                    Ok(other) => Err(Failure::Type(format!("a {} is no condition", other.type_name()))),
                    Err(failure) => Err(failure),
                }
            }
            Node::NotStrictlyFalse(condition) => match self.eval(condition) {
                Ok(Val::Bool(false)) => Ok(Val::Bool(false)),
                Err(Failure::Budget) => Err(Failure::Budget),
                Ok(_) | Err(_) => Ok(Val::Bool(true)),
            },
            Node::Call(function, nodes) => {
                let (now, budget) = (self.context.now(), self.budget);
                match nodes.as_ref() {
                    [a] => functions::call(*function, &[self.eval(a)?], now, budget),
                    [a, b] => functions::call(*function, &[self.eval(a)?, self.eval(b)?], now, budget),
                    [a, b, c] => functions::call(*function, &[self.eval(a)?, self.eval(b)?, self.eval(c)?], now, budget),
                    _ => functions::call(*function, &[], now, budget),
                }
            }
        }
    }

    fn map(&mut self, entries: &'a [(Node, Node)]) -> Evaluated<'a> {
        let mut record = BTreeMap::new();
        for (key, value) in entries {
            let Val::Text(key) = self.eval(key)? else {
                return Err(Failure::Type("a map has strings as keys".to_owned()));
            };
            record.insert(key, self.eval(value)?);
        }
        Ok(Val::Record(Arc::new(record)))
    }

    fn each(&mut self, each: &'a Loop) -> Evaluated<'a> {
        let range = self.eval(&each.range)?;
        let elements = range.elements().ok_or_else(|| Failure::Type(format!("a {} has no elements", range.type_name())))?;
        self.budget.take_each(elements.len())?;
        let start = self.eval(&each.start);
        self.bound.push(start);
        for element in elements {
            self.bound.push(Ok(element));
            let going_on = self.eval(&each.going_on);
            let next = matches!(going_on, Ok(Val::Bool(true))).then(|| self.eval(&each.step));
            self.bound.pop();
            let (Some(next), Some(accumulated)) = (next, self.bound.last_mut()) else {
                break;
            };
            if matches!(next, Err(Failure::Budget)) {
                return Err(Failure::Budget);
            }
            *accumulated = next;
        }
        let result = self.eval(&each.result);
        self.bound.pop();
        result
    }

    /// A side that decides overrules a failure of the other.
    fn joined(&mut self, sides: &'a [Node; 2], decided_by: bool) -> Evaluated<'a> {
        let [left, right] = sides;
        let left = self.eval(left);
        if matches!(left, Ok(Val::Bool(value)) if value == decided_by) || matches!(left, Err(Failure::Budget)) {
            return left;
        }
        let right = self.eval(right);
        if matches!(right, Ok(Val::Bool(value)) if value == decided_by) || matches!(right, Err(Failure::Budget)) {
            return right;
        }
        match (left?, right?) {
            (Val::Bool(_), Val::Bool(_)) => Ok(Val::Bool(!decided_by)),
            (a, b) => Err(Failure::Type(format!("{} and {} cannot be joined", a.type_name(), b.type_name()))),
        }
    }
}
