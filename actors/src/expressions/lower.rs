//! From the syntax tree to nodes; what could never be evaluated is refused.

use super::{
    CompileError,
    function::Function,
    node::{Constant, Loop, Node},
};
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, LiteralValue, operators as op};
use std::{collections::HashSet, sync::Arc};

/// Deepest expression.
const MAX_DEPTH: usize = 48;

/// The root of an expression. Its shared nodes are those of `shared` where there are equal ones, and are added where there are none.
pub(super) fn root(expression: &IdedExpr, shared: &mut HashSet<Arc<Node>>) -> Result<Node, CompileError> {
    Lowering { names: vec!["this"], outermost: usize::MAX, shared }.node(expression, MAX_DEPTH)
}

struct Lowering<'e, 's> {
    /// `this` and the variables of the macros around, innermost last.
    names: Vec<&'e str>,
    /// The outermost of them that was read.
    outermost: usize,
    shared: &'s mut HashSet<Arc<Node>>,
}

impl<'e> Lowering<'e, '_> {
    fn node(&mut self, expression: &'e IdedExpr, depth: usize) -> Result<Node, CompileError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(CompileError::TooLarge("deep"));
        };
        let around = std::mem::replace(&mut self.outermost, usize::MAX);
        let node = self.own(expression, depth)?;
        let closed = self.outermost >= self.names.len();
        self.outermost = self.outermost.min(around);
        Ok(if closed && matches!(node, Node::Call(..) | Node::Loop(_)) { Node::Shared(self.share(node)) } else { node })
    }

    fn share(&mut self, node: Node) -> Arc<Node> {
        if let Some(equal) = self.shared.get(&node) {
            return equal.clone();
        }
        let node = Arc::new(node);
        self.shared.insert(node.clone());
        node
    }

    fn own(&mut self, expression: &'e IdedExpr, depth: usize) -> Result<Node, CompileError> {
        Ok(match &expression.expr {
            Expr::Unspecified => return Err(CompileError::Syntax("an empty expression".to_owned())),
            Expr::Literal(literal) => Node::Constant(constant(literal)?),
            Expr::Ident(name) => self.variable(name)?,
            Expr::Select(select) => {
                let (operand, field) = (Box::new(self.node(&select.operand, depth)?), select.field.as_str().into());
                if select.test { Node::Has(operand, field) } else { Node::Field(operand, field) }
            }
            Expr::List(list) if list.optional_indices.is_empty() => Node::List(self.nodes(&list.elements, depth)?),
            Expr::List(_) => return Err(CompileError::Unsupported("optional syntax".to_owned())),
            Expr::Struct(literal) => return Err(CompileError::Unsupported(format!("the message literal {}", literal.type_name))),
            Expr::Map(map) => Node::Map(map.entries.iter().map(|entry| self.entry(entry, depth)).collect::<Result<_, _>>()?),
            Expr::Call(call) => self.call(call, depth)?,
            Expr::Comprehension(comprehension) => Node::Loop(Box::new(self.comprehension(comprehension, depth)?)),
        })
    }

    fn nodes(&mut self, expressions: impl IntoIterator<Item = &'e IdedExpr>, depth: usize) -> Result<Vec<Node>, CompileError> {
        expressions.into_iter().map(|expression| self.node(expression, depth)).collect()
    }

    fn variable(&mut self, name: &'e str) -> Result<Node, CompileError> {
        let Some(place) = self.names.iter().rposition(|known| *known == name) else {
            return match name {
                "ctx" => Ok(Node::Ctx),
                "now" => Ok(Node::Now),
                unknown => Err(CompileError::Unknown(unknown.to_owned())),
            };
        };
        self.outermost = self.outermost.min(place);
        Ok(if place == 0 { Node::This } else { Node::Local(self.names.len() - 1 - place) })
    }

    fn entry(&mut self, entry: &'e IdedEntryExpr, depth: usize) -> Result<(Node, Node), CompileError> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) if !entry.optional => Ok((self.node(&entry.key, depth)?, self.node(&entry.value, depth)?)),
            EntryExpr::MapEntry(_) | EntryExpr::StructField(_) => Err(CompileError::Unsupported("optional syntax".to_owned())),
        }
    }

    fn comprehension(&mut self, c: &'e ComprehensionExpr, depth: usize) -> Result<Loop, CompileError> {
        if c.iter_var2.is_some() {
            return Err(CompileError::Unsupported("a macro with two variables".to_owned()));
        }
        let (range, start) = (self.node(&c.iter_range, depth)?, self.node(&c.accu_init, depth)?);
        let around = self.names.len();
        self.names.push(&c.accu_var);
        let result = self.node(&c.result, depth)?;
        self.names.push(&c.iter_var);
        let (going_on, step) = (self.node(&c.loop_cond, depth)?, self.node(&c.loop_step, depth)?);
        self.names.truncate(around);
        Ok(Loop { range, start, going_on, step, result })
    }

    fn call(&mut self, call: &'e CallExpr, depth: usize) -> Result<Node, CompileError> {
        let name = call.func_name.as_str();
        let in_macro = self.names.len() > 1;
        match (name, call.args.as_slice()) {
            (op::LOGICAL_AND | op::LOGICAL_OR, [left, right]) => {
                let sides = Box::new([self.node(left, depth)?, self.node(right, depth)?]);
                return Ok(Node::Joined { sides, decided_by: name == op::LOGICAL_OR });
            }
            (op::CONDITIONAL, [condition, yes, no]) => {
                let parts = Box::new([self.node(condition, depth)?, self.node(yes, depth)?, self.node(no, depth)?]);
                return Ok(Node::Conditional { parts, in_macro });
            }
            (op::NOT_STRICTLY_FALSE, [condition]) => return Ok(Node::NotStrictlyFalse(Box::new(self.node(condition, depth)?))),
            _ => {}
        }
        let known = Function::named(name).filter(|function| call.target.is_some() || !function.is_helper());
        let function = known.ok_or_else(|| CompileError::Unsupported(format!("the function {name}")))?;
        let values = call.args.len() + usize::from(call.target.is_some());
        if !function.values().contains(&values) {
            return Err(CompileError::Syntax(format!("{name} does not take {values} values")));
        }
        let values = self.nodes(call.target.iter().map(AsRef::as_ref).chain(&call.args), depth)?;
        Ok(Node::Call(function, values.into_boxed_slice()))
    }
}

fn constant(literal: &LiteralValue) -> Result<Constant, CompileError> {
    Ok(match literal {
        LiteralValue::Boolean(value) => Constant::Bool(*value.inner()),
        LiteralValue::Int(value) => Constant::Int(*value.inner()),
        LiteralValue::UInt(value) => i64::try_from(*value.inner()).map_or(Constant::Null, Constant::Int),
        LiteralValue::Double(value) => Constant::Double(value.inner().to_bits()),
        LiteralValue::String(value) => Constant::Text(value.inner().into()),
        LiteralValue::Null => Constant::Null,
        LiteralValue::Bytes(_) => return Err(CompileError::Unsupported("a bytes literal".to_owned())),
    })
}
