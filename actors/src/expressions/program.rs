//! Compiling an expression: parse it, bound it, and refuse what could never be evaluated.

use super::{Budget, Failure, Variables, credentials, eval, functions};
use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

/// Longest expression in bytes.
const MAX_BYTES: usize = 4096;
/// Deepest expression.
const MAX_DEPTH: usize = 48;
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

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Program {
    expression: IdedExpr,
}

impl Program {
    /// Compiles an expression over the variables `this`, `ctx` and `now` that results in a boolean.
    ///
    /// # Errors
    /// [`CompileError`] says what is wrong with it.
    pub fn compile(text: &str) -> Result<Self, CompileError> {
        if text.len() > MAX_BYTES {
            return Err(CompileError::TooLarge("long"));
        }
        let parser = cel::parser::PrattParser::new().max_recursion_depth(32).max_expression_node_count(MAX_NODES).error_recovery_limit(4);
        let expression = parser.parse(text).map_err(|errors| {
            let first = errors.errors.first().map_or_else(String::new, |e| format!("{} at {}:{}", e.msg, e.pos.0, e.pos.1));
            CompileError::Syntax(first)
        })?;
        check(&expression, MAX_DEPTH, &mut vec!["this", "ctx", "now"])?;
        if kind(&expression) == Kind::Other {
            return Err(CompileError::NotBoolean);
        }
        Ok(Self { expression })
    }

    /// Evaluates it.
    ///
    /// # Errors
    /// [`Failure`]; a result that is no boolean is one of type.
    pub fn evaluate(&self, variables: &Variables<'_>, budget: &Budget) -> Result<bool, Failure> {
        eval::boolean(&self.expression, variables, budget)
    }
}

/// What is known of a result before evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Other,
    Unknown,
}

fn kind(expression: &IdedExpr) -> Kind {
    match &expression.expr {
        Expr::Literal(LiteralValue::Boolean(_)) => Kind::Boolean,
        Expr::Literal(_) | Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => Kind::Other,
        Expr::Select(select) if select.test => Kind::Boolean,
        Expr::Ident(_) | Expr::Select(_) => Kind::Unknown,
        Expr::Comprehension(comprehension) => match &comprehension.result.expr {
            Expr::Ident(name) if *name == comprehension.accu_var => kind(&comprehension.accu_init),
            _ => kind(&comprehension.result),
        },
        Expr::Call(call) if call.func_name == cel::common::ast::operators::CONDITIONAL => {
            let branches: Vec<Kind> = call.args.iter().skip(1).map(kind).collect();
            if branches.contains(&Kind::Other) { Kind::Other } else { Kind::Unknown }
        }
        Expr::Call(call) => {
            functions::gives_boolean(&call.func_name).map_or(Kind::Unknown, |is| if is { Kind::Boolean } else { Kind::Other })
        }
    }
}

/// Checks names, arities and depth. `names` are the variables in scope.
fn check<'e>(expression: &'e IdedExpr, depth: usize, names: &mut Vec<&'e str>) -> Result<(), CompileError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(CompileError::TooLarge("deep"));
    };
    match &expression.expr {
        Expr::Unspecified => Err(CompileError::Syntax("an empty expression".to_owned())),
        Expr::Literal(LiteralValue::Bytes(_)) => Err(CompileError::Unsupported("a bytes literal".to_owned())),
        Expr::Literal(_) => Ok(()),
        Expr::Ident(name) if names.contains(&name.as_str()) => Ok(()),
        Expr::Ident(name) => Err(CompileError::Unknown(name.clone())),
        Expr::Select(select) => check(&select.operand, depth, names),
        Expr::List(list) if list.optional_indices.is_empty() => list.elements.iter().try_for_each(|e| check(e, depth, names)),
        Expr::List(_) => Err(CompileError::Unsupported("optional syntax".to_owned())),
        Expr::Struct(literal) => Err(CompileError::Unsupported(format!("the message literal {}", literal.type_name))),
        Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) if !entry.optional => {
                check(&entry.key, depth, names)?;
                check(&entry.value, depth, names)
            }
            EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => Err(CompileError::Unsupported("optional syntax".to_owned())),
        }),
        Expr::Call(call) => call_check(call, depth, names),
        Expr::Comprehension(c) => {
            if c.iter_var2.is_some() {
                return Err(CompileError::Unsupported("a macro with two variables".to_owned()));
            }
            check(&c.iter_range, depth, names)?;
            check(&c.accu_init, depth, names)?;
            let before = names.len();
            names.push(&c.accu_var);
            check(&c.result, depth, names)?;
            names.push(&c.iter_var);
            let inside = check(&c.loop_cond, depth, names).and_then(|()| check(&c.loop_step, depth, names));
            names.truncate(before);
            inside
        }
    }
}

fn call_check<'e>(call: &'e CallExpr, depth: usize, names: &mut Vec<&'e str>) -> Result<(), CompileError> {
    let arguments = call.args.len() + usize::from(call.target.is_some());
    let name = call.func_name.as_str();
    let known = functions::arity(name).or_else(|| credentials::arity(name).filter(|_| call.target.is_some()));
    match known {
        None => return Err(CompileError::Unsupported(format!("the function {name}"))),
        Some(arity) if !arity.contains(&arguments) => return Err(CompileError::Syntax(format!("{name} does not take {arguments} values"))),
        Some(_) => {}
    }
    call.target.iter().map(AsRef::as_ref).chain(&call.args).try_for_each(|e| check(e, depth, names))
}
