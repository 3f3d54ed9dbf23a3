//! Compiled expressions of one version of the settings.

use super::CelExpression;
use crate::expressions::{CompileError, Compiler, Program};
use cellspace_schemas::odrl::term;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, OnceLock},
};

/// An expression ready for use.
#[derive(Debug)]
pub struct Compiled {
    scopes: Vec<String>,
    actions: Vec<String>,
    /// The program; what an older version of the platform stored may no longer compile.
    pub program: Result<Program, CompileError>,
}

impl Compiled {
    fn of(expression: &CelExpression, compiler: &mut Compiler) -> Self {
        Self {
            scopes: expression.scopes.iter().map(|scope| scope.trim_end_matches('.').to_owned()).collect(),
            actions: expression.actions.iter().map(|action| term(action).to_owned()).collect(),
            program: compiler.compile(&expression.expression),
        }
    }

    /// Whether it applies in a policy scope: it names it, or one of its scopes is `*`; none means all.
    #[must_use]
    pub fn covers(&self, scope: &str) -> bool {
        self.scopes.is_empty() || self.scopes.iter().any(|own| own == "*") || self.names(scope)
    }

    /// Whether one of its scopes is the scope, or a prefix of it by whole words.
    #[must_use]
    pub fn names(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| is_within(scope, own))
    }

    /// Whether it says who fulfils a constraint, in any scope: one that names only requests says what is offered with them.
    #[must_use]
    pub fn judges(&self) -> bool {
        self.scopes.is_empty() || self.scopes.iter().any(|own| !is_within(own, "request"))
    }

    /// Whether one of its scopes is `request`, or in it.
    #[must_use]
    pub fn names_requests(&self) -> bool {
        self.scopes.iter().any(|own| is_within(own, "request"))
    }

    /// Whether it applies to rules with this action; none means all.
    #[must_use]
    pub fn applies_to(&self, action: &str) -> bool {
        self.actions.is_empty() || self.actions.iter().any(|own| own == action)
    }
}

fn is_within(scope: &str, bound: &str) -> bool {
    scope.strip_prefix(bound).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Expressions by left operand, compiled once per version of the settings.
#[derive(Debug, Clone, Default)]
pub(super) struct Programs(Arc<OnceLock<HashMap<String, Vec<Compiled>>>>);

impl Programs {
    pub(super) fn of(&self, expressions: &BTreeMap<String, CelExpression>, left_operand: &str) -> &[Compiled] {
        let all = self.0.get_or_init(|| {
            let (mut all, mut compiler) = (HashMap::<String, Vec<Compiled>>::new(), Compiler::default());
            for expression in expressions.values() {
                all.entry(term(&expression.left_operand).to_owned()).or_default().push(Compiled::of(expression, &mut compiler));
            }
            all
        });
        all.get(term(left_operand)).map_or(&[], Vec::as_slice)
    }
}

/// What was compiled follows from the expressions, which are compared.
impl PartialEq for Programs {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Programs {}
