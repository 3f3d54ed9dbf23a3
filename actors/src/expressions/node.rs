//! A compiled expression: names resolved, macros expanded, constants made.

use super::{Val, function::Function};
use std::sync::Arc;

/// A node of a compiled expression. Equal nodes have equal values wherever the variables they read are the same.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Node {
    Constant(Constant),
    This,
    Ctx,
    Now,
    /// A variable of a macro, counted from the innermost, which is 0.
    Local(usize),
    /// The field of a map; a failure when it is not there.
    Field(Box<Node>, Box<str>),
    /// Whether a map has the field.
    Has(Box<Node>, Box<str>),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Loop(Box<Loop>),
    /// `&&`, decided by false, or `||`, decided by true.
    Joined {
        sides: Box<[Node; 2]>,
        decided_by: bool,
    },
    /// `condition ? yes : no`
    Conditional {
        parts: Box<[Node; 3]>,
        in_macro: bool,
    },
    /// Whether an element of a macro leaves its result open; what failed does.
    NotStrictlyFalse(Box<Node>),
    Call(Function, Box<[Node]>),
    /// Reads neither `this` nor a variable of a macro around it: it has one value in a context, whatever expressions it occurs in.
    Shared(Arc<Node>),
}

/// A macro over the elements of a list or the keys of a map. `going_on` and `step` see the element as 0 and the accumulator as 1; `result` sees the
/// accumulator as 0.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Loop {
    pub(super) range: Node,
    pub(super) start: Node,
    pub(super) going_on: Node,
    pub(super) step: Node,
    pub(super) result: Node,
}

/// A literal.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum Constant {
    Null,
    Bool(bool),
    Int(i64),
    /// The bits of the number.
    Double(u64),
    Text(Box<str>),
}

impl Constant {
    pub(super) fn value(&self) -> Val<'_> {
        match self {
            Self::Null => Val::Null,
            Self::Bool(flag) => Val::Bool(*flag),
            Self::Int(number) => Val::Int(*number),
            Self::Double(bits) => Val::Double(f64::from_bits(*bits)),
            Self::Text(text) => Val::text(text),
        }
    }
}
