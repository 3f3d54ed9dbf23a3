//! What all expressions evaluated for one message see, and what was found out about it on the way.

use super::{Budget, Failure, Val, eval::Evaluator, node::Node, value::Evaluated};
use cellspace_schemas::Timestamp;
use std::cell::RefCell;

/// Values remembered at most.
const MAX_KNOWN: usize = 64;

/// `ctx` and `now`: the same for every expression that is evaluated for one message. What depends on nothing else is evaluated once and remembered as
/// long as the context lives. Never keep one for another message: what a counterparty may do is found out anew each time.
#[derive(Debug)]
pub struct Context<'a> {
    ctx: Val<'a>,
    now: Timestamp,
    known: RefCell<Vec<Known<'a>>>,
    /// What is remembered takes no more room than what one evaluation makes.
    room: Budget,
}

/// The value of a shared node, and the steps it took.
#[derive(Debug)]
struct Known<'a> {
    node: &'a Node,
    value: Evaluated<'a>,
    steps: u32,
}

impl<'a> Context<'a> {
    /// A context in which nothing was evaluated yet. `ctx`: who asks, and about what.
    #[must_use]
    pub fn new(ctx: Val<'a>, now: Timestamp) -> Self {
        Self { ctx, now, known: RefCell::default(), room: Budget::default() }
    }

    /// `ctx`
    pub(super) const fn ctx(&self) -> &Val<'a> {
        &self.ctx
    }

    /// `now`
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The value of a shared node. It costs the same whether it is remembered or not, so that what an evaluation costs does not depend on others.
    pub(super) fn value(&self, node: &'a Node, budget: &Budget) -> Evaluated<'a> {
        if let Some(known) = self.known.borrow().iter().find(|known| std::ptr::eq(known.node, node)) {
            budget.take(known.steps)?;
            return known.value.clone();
        }
        let before = budget.left();
        let value = Evaluator::of(None, self, budget).eval(node);
        // That the steps were spent says nothing about the value.
        if !matches!(value, Err(Failure::Budget)) {
            let (mut known, steps) = (self.known.borrow_mut(), before.saturating_sub(budget.left()));
            if known.len() < MAX_KNOWN && self.room.take(steps).is_ok() {
                known.push(Known { node, value: value.clone(), steps });
            }
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expressions::{
        Compiler, Program,
        tests::{claims, constraint, context},
    };
    use cellspace_schemas::odrl::Operator;
    use serde_json::{Value, json};

    const LEVEL: &str = "ctx.agent.claims.vc.withType('MembershipCredential').valid().claim('level')";

    fn programs<const N: usize>(texts: [String; N]) -> [Program; N] {
        let mut compiler = Compiler::default();
        texts.map(|text| compiler.compile(&text).unwrap_or_else(|e| panic!("{text}: {e}")))
    }

    fn evaluated<'a>(
        program: &'a Program,
        this: &'a cellspace_schemas::odrl::AtomicConstraint,
        context: &Context<'a>,
    ) -> Result<bool, Failure> {
        program.evaluate(this, context, &Budget::default())
    }

    #[test]
    fn what_reads_the_constraint_is_evaluated_for_each() {
        let [program] = programs([format!("this.operator == 'EQ' ? {LEVEL} == this.rightOperand : {LEVEL} >= this.rightOperand")]);
        let claims = claims();
        let constraints: Vec<_> = [Operator::Eq, Operator::Gteq]
            .into_iter()
            .flat_map(|o| (0..6).map(move |right| (o, right, constraint(o, json!(right)))))
            .collect();
        let context = context(&claims);
        for (operator, right, this) in constraints.iter().chain(&constraints) {
            let expected = if *operator == Operator::Eq { 3 == *right } else { 3 >= *right };
            assert_eq!(evaluated(&program, this, &context), Ok(expected), "{operator} {right}");
        }
    }

    #[test]
    fn what_does_not_is_evaluated_once() {
        let [one, other, alone] = programs([
            format!("{LEVEL} in this.rightOperand"),
            format!("this.operator == 'NE' ? {LEVEL} == 1 : {LEVEL} == this.rightOperand"),
            "ctx.agent.claims.vc.exists(c, c.hasType('OldCredential'))".to_owned(),
        ]);
        let (claims, many, three) = (claims(), constraint(Operator::IsAnyOf, json!([1, 3])), constraint(Operator::Eq, json!(3)));
        let context = context(&claims);
        let known = || context.known.borrow().len();
        for (program, this, expected) in [(&one, &many, 3), (&one, &many, 3), (&other, &three, 3), (&alone, &three, 4), (&alone, &many, 4)]
        {
            assert_eq!((evaluated(program, this, &context), known()), (Ok(true), expected));
        }
    }

    #[test]
    fn every_counterparty_is_found_out_about_anew() {
        let texts =
            [format!("{LEVEL} == 3"), "ctx.agent.claims.vc.hasClaim('level', 3)".to_owned(), format!("{LEVEL} == this.rightOperand")];
        let programs = programs(texts);
        let this = constraint(Operator::Eq, json!(3));
        let mut lower = claims();
        *lower.pointer_mut("/agent/claims/vc/0/credentialSubject/0/level").unwrap() = json!(2);
        let (claims, none) = (claims(), json!({"agent": {"id": "did:web:n", "claims": {"vc": []}}}));
        let contexts: [(&Value, bool); 4] = [(&claims, true), (&lower, false), (&claims, true), (&none, false)];
        for program in &programs {
            for (claims, expected) in contexts {
                let context = context(claims);
                let twice = [(); 2].map(|()| evaluated(program, &this, &context));
                assert_eq!(twice, [Ok(expected), Ok(expected)], "{program:?}");
            }
        }
    }

    #[test]
    fn failures_are_remembered_as_they_are() {
        let [missing, undefined, out_of_range] =
            programs(["ctx.x.claim('a') == 1", "ctx.agent.claims.vc.claim('level') < 'a'", "int(ctx.agent.id) == 1"].map(str::to_owned));
        let (claims, this) = (claims(), constraint(Operator::Eq, json!(3)));
        let context = context(&claims);
        for _ in 0..3 {
            assert!(matches!(evaluated(&missing, &this, &context), Err(Failure::NoSuchKey(key)) if key == "x"));
            assert!(matches!(evaluated(&undefined, &this, &context), Err(Failure::Type(_))));
            assert!(matches!(evaluated(&out_of_range, &this, &context), Err(Failure::Range(_))));
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (claims, this) = (claims(), constraint(Operator::Eq, json!(3)));
        let many: [Program; MAX_KNOWN * 2] = programs(std::array::from_fn(|n| format!("ctx.agent.claims.vc.hasClaim('level', {n})")));
        let context = context(&claims);
        for _ in 0..2 {
            for (n, program) in many.iter().enumerate() {
                assert_eq!(evaluated(program, &this, &context), Ok(n == 1 || n == 3));
            }
        }
        assert_eq!(context.known.borrow().len(), MAX_KNOWN);

        let long = "x".repeat(4000);
        let large: [Program; 40] =
            programs(std::array::from_fn(|n| format!("[1,2,3,4,5,6,7,8,9,10].map(n, '{long}' + 'a').size() == {n}")));
        let context = super::tests::context(&claims);
        for (n, program) in large.iter().enumerate() {
            assert_eq!(evaluated(program, &this, &context), Ok(n == 10));
        }
        let steps: u32 = context.known.borrow().iter().map(|known| known.steps).sum();
        assert!(steps <= Budget::STEPS && context.known.borrow().len() < 40, "{steps}");
    }
}
