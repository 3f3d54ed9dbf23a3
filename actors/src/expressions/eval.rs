//! Evaluation of a compiled expression.

use super::{Budget, Failure, Val, credentials, functions};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};
use cellspace_schemas::Timestamp;
use std::{collections::BTreeMap, sync::Arc};

/// What an expression sees.
#[derive(Debug, Clone)]
pub struct Variables<'a> {
    /// `this`: left operand, operator and right operand of the constraint.
    pub this: Val<'a>,
    /// `ctx`: who asks, and about what.
    pub ctx: Val<'a>,
    /// `now`
    pub now: Timestamp,
}

type Evaluated<'a> = Result<Val<'a>, Failure>;

/// Evaluates to a boolean.
pub(super) fn boolean(expression: &IdedExpr, variables: &Variables<'_>, budget: &Budget) -> Result<bool, Failure> {
    match (Evaluator { variables, budget, bound: Vec::new() }).eval(expression)? {
        Val::Bool(result) => Ok(result),
        other => Err(Failure::Type(format!("the expression resulted in a {}", other.type_name()))),
    }
}

struct Evaluator<'v, 'a> {
    variables: &'v Variables<'a>,
    budget: &'v Budget,
    /// Variables of macros, innermost last. The accumulator may hold a failure, which a later element can still overrule.
    bound: Vec<(&'a str, Evaluated<'a>)>,
}

impl<'v, 'a> Evaluator<'v, 'a>
where
    'v: 'a,
{
    fn eval(&mut self, expression: &'a IdedExpr) -> Evaluated<'a> {
        self.budget.take(1)?;
        match &expression.expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => self.variable(name),
            Expr::Select(select) => {
                let operand = self.eval(&select.operand)?;
                let field = operand.field(&select.field);
                if select.test { Ok(Val::Bool(field.is_some())) } else { field.ok_or_else(|| Failure::NoSuchKey(select.field.clone())) }
            }
            Expr::List(list) => list.elements.iter().map(|e| self.eval(e)).collect::<Result<_, _>>().map(Val::list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::Call(call) => self.call(call),
            Expr::Struct(_) | Expr::Unspecified => Err(Failure::Type("not supported".to_owned())),
        }
    }

    fn variable(&self, name: &str) -> Evaluated<'a> {
        if let Some((_, value)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return value.clone();
        }
        match name {
            "this" => Ok(self.variables.this.clone()),
            "ctx" => Ok(self.variables.ctx.clone()),
            "now" => Ok(Val::Time(self.variables.now)),
            other => Err(Failure::NoSuchKey(other.to_owned())),
        }
    }

    fn map(&mut self, entries: &'a [cel::common::ast::IdedEntryExpr]) -> Evaluated<'a> {
        let mut record = BTreeMap::new();
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(Failure::Type("not supported".to_owned()));
            };
            let Val::Text(key) = self.eval(&entry.key)? else {
                return Err(Failure::Type("a map has strings as keys".to_owned()));
            };
            let value = self.eval(&entry.value)?;
            record.insert(key.into_owned(), value);
        }
        Ok(Val::Record(Arc::new(record)))
    }

    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> Evaluated<'a> {
        let range = self.eval(&c.iter_range)?;
        let elements = range.elements().ok_or_else(|| Failure::Type(format!("a {} has no elements", range.type_name())))?;
        self.budget.take(elements.len())?;
        let start = self.eval(&c.accu_init);
        self.bound.push((&c.accu_var, start));
        for element in elements {
            self.bound.push((&c.iter_var, Ok(element)));
            let goes_on = self.eval(&c.loop_cond);
            let next = matches!(goes_on, Ok(Val::Bool(true))).then(|| self.eval(&c.loop_step));
            self.bound.pop();
            let (Some(next), Some((_, accumulated))) = (next, self.bound.last_mut()) else {
                break;
            };
            if matches!(next, Err(Failure::Budget)) {
                return Err(Failure::Budget);
            }
            *accumulated = next;
        }
        let result = self.eval(&c.result);
        self.bound.pop();
        result
    }

    fn call(&mut self, call: &'a CallExpr) -> Evaluated<'a> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => self.joined(left, right, false),
            (operators::LOGICAL_OR, [left, right]) => self.joined(left, right, true),
            (operators::CONDITIONAL, [condition, yes, no]) => match self.eval(condition) {
                Ok(Val::Bool(true)) => self.eval(yes),
                Ok(Val::Bool(false)) => self.eval(no),
                // An element that lacks what a filter asks for does not match it.
                Err(Failure::NoSuchKey(_)) if !self.bound.is_empty() => self.eval(no),
                Ok(other) => Err(Failure::Type(format!("a {} is no condition", other.type_name()))),
                Err(failure) => Err(failure),
            },
            (operators::NOT_STRICTLY_FALSE, [condition]) => match self.eval(condition) {
                Ok(Val::Bool(false)) => Ok(Val::Bool(false)),
                Err(Failure::Budget) => Err(Failure::Budget),
                Ok(_) | Err(_) => Ok(Val::Bool(true)),
            },
            (name, _) => {
                let mut values = Vec::with_capacity(call.args.len() + 1);
                if let Some(target) = &call.target {
                    values.push(self.eval(target)?);
                }
                for argument in &call.args {
                    values.push(self.eval(argument)?);
                }
                if credentials::arity(name).is_some() {
                    return credentials::call(name, &values, self.variables.now, self.budget);
                }
                functions::call(name, &values, self.budget)
            }
        }
    }

    /// `&&` (decided by false) and `||` (decided by true): a side that decides overrules a failure of the other.
    fn joined(&mut self, left: &'a IdedExpr, right: &'a IdedExpr, deciding: bool) -> Evaluated<'a> {
        let left = self.eval(left);
        if matches!(left, Ok(Val::Bool(value)) if value == deciding) || matches!(left, Err(Failure::Budget)) {
            return left;
        }
        let right = self.eval(right);
        if matches!(right, Ok(Val::Bool(value)) if value == deciding) || matches!(right, Err(Failure::Budget)) {
            return right;
        }
        match (left?, right?) {
            (Val::Bool(_), Val::Bool(_)) => Ok(Val::Bool(!deciding)),
            (a, b) => Err(Failure::Type(format!("{} and {} cannot be joined", a.type_name(), b.type_name()))),
        }
    }
}

fn constant(literal: &LiteralValue) -> Val<'_> {
    match literal {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::UInt(value) => i64::try_from(*value.inner()).map_or(Val::Null, Val::Int),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::String(value) => Val::text(value.inner()),
        LiteralValue::Null | LiteralValue::Bytes(_) => Val::Null,
    }
}
