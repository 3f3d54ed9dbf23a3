//! Compiling an expression: parse it, bound it, and refuse what could never be evaluated.

use super::{
    Budget, Context, Failure, Val,
    eval::Evaluator,
    function::Kind,
    lower,
    node::{Constant, Node},
};
use cellspace_schemas::odrl::AtomicConstraint;
use std::{collections::HashSet, sync::Arc};

/// Longest expression in bytes.
const MAX_BYTES: usize = 4096;
/// Nodes of an expression at most, macros expanded.
const MAX_NODES: usize = 1000;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// Longer or deeper than allowed.
    #[error("the expression is too {0}")]
    TooLarge(&'static str),
    /// Not in the language.
    #[error("syntax error: {0}")]
    Syntax(String),
    /// In the language, but not supported here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A name that is no variable or function.
    #[error("{0} is not known: the variables are this, ctx and now")]
    Unknown(String),
    /// Cannot be a boolean.
    #[error("the expression does not result in a boolean")]
    NotBoolean,
}

/// Compiles expressions. Equal subexpressions that read only `ctx` and `now` are one in all programs of a compiler, so that a [`Context`] evaluates
/// each of them once.
#[derive(Debug, Default)]
pub struct Compiler {
    shared: HashSet<Arc<Node>>,
}

impl Compiler {
    /// Compiles an expression over the variables `this`, `ctx` and `now` that results in a boolean.
    ///
    /// # Errors
    /// [`CompileError`] says what is wrong with it.
    pub fn compile(&mut self, text: &str) -> Result<Program, CompileError> {
        if text.len() > MAX_BYTES {
            return Err(CompileError::TooLarge("long"));
        }
        let parser = cel::parser::PrattParser::new().max_recursion_depth(32).max_expression_node_count(MAX_NODES).error_recovery_limit(4);
        let expression = parser.parse(text).map_err(|errors| {
            let first = errors.errors.first().map_or_else(String::new, |e| format!("{} at {}:{}", e.msg, e.pos.0, e.pos.1));
            CompileError::Syntax(first)
        })?;
        let root = lower::root(&expression, &mut self.shared)?;
        if kind(&root) == Kind::Other { Err(CompileError::NotBoolean) } else { Ok(Program { root }) }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Node,
}

impl Program {
    /// Compiles an expression on its own, as [`Compiler::compile`] does.
    ///
    /// # Errors
    /// [`CompileError`] says what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        Compiler::default().compile(text)
    }

    /// Evaluates it; `this` is the constraint it is evaluated for.
    ///
    /// # Errors
    /// [`Failure`]; a result that is no boolean is one of type.
    pub fn evaluate<'a>(&'a self, this: &'a AtomicConstraint, context: &Context<'a>, budget: &Budget) -> Result<bool, Failure> {
        match Evaluator::of(Some(this), context, budget).eval(&self.root)? {
            Val::Bool(result) => Ok(result),
            other => Err(Failure::Type(format!("the expression resulted in a {}", other.type_name()))),
        }
    }
}

impl Program {
    pub(super) const fn root(&self) -> &Node {
        &self.root
    }
}

/// What is known of the result.
fn kind(node: &Node) -> Kind {
    match node {
        Node::Shared(node) => kind(node),
        Node::Constant(Constant::Bool(_)) | Node::Has(..) | Node::Joined { .. } | Node::NotStrictlyFalse(_) => Kind::Boolean,
        Node::Constant(_) | Node::List(_) | Node::Map(_) => Kind::Other,
        Node::This | Node::Ctx | Node::Now | Node::Local(_) | Node::Field(..) => Kind::Unknown,
        Node::Loop(each) if matches!(each.result, Node::Local(0)) => kind(&each.start),
        Node::Loop(each) => kind(&each.result),
        Node::Conditional { parts, .. } => {
            let [_, yes, no] = parts.as_ref();
            if [kind(yes), kind(no)].contains(&Kind::Other) { Kind::Other } else { Kind::Unknown }
        }
        Node::Call(function, _) => function.result(),
    }
}
