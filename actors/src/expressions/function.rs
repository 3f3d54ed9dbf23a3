//! The functions of the language: their names, how many values they take, what they result in.

use cel::common::ast::operators as op;
use std::ops::RangeInclusive;

/// What is known of a result before evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Other,
    Unknown,
}

macro_rules! functions {
    ($($variant:ident = $name:expr, $values:expr, $result:ident;)+) => {
        /// A function or an operator that evaluates all of its operands.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Function {
            $($variant,)+
        }

        impl Function {
            /// The function with this name.
            pub(super) fn named(name: &str) -> Option<Self> {
                [$(($name, Self::$variant)),+].into_iter().find_map(|(known, function)| (known == name).then_some(function))
            }

            /// Its name.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// How many values it takes, the receiver included.
            pub(super) const fn values(self) -> RangeInclusive<usize> {
                match self {
                    $(Self::$variant => $values,)+
                }
            }

            /// What it results in.
            pub(super) const fn result(self) -> Kind {
                match self {
                    $(Self::$variant => Kind::$result,)+
                }
            }
        }
    };
}

functions! {
    Not = op::LOGICAL_NOT, 1..=1, Boolean;
    Negate = op::NEGATE, 1..=1, Other;
    Add = op::ADD, 2..=2, Other;
    Subtract = op::SUBSTRACT, 2..=2, Other;
    Multiply = op::MULTIPLY, 2..=2, Other;
    Divide = op::DIVIDE, 2..=2, Other;
    Modulo = op::MODULO, 2..=2, Other;
    Equals = op::EQUALS, 2..=2, Boolean;
    NotEquals = op::NOT_EQUALS, 2..=2, Boolean;
    Greater = op::GREATER, 2..=2, Boolean;
    GreaterEquals = op::GREATER_EQUALS, 2..=2, Boolean;
    Less = op::LESS, 2..=2, Boolean;
    LessEquals = op::LESS_EQUALS, 2..=2, Boolean;
    In = op::IN, 2..=2, Boolean;
    Index = op::INDEX, 2..=2, Unknown;
    Size = "size", 1..=1, Other;
    Int = "int", 1..=1, Other;
    Double = "double", 1..=1, Other;
    String = "string", 1..=1, Other;
    Bool = "bool", 1..=1, Boolean;
    Timestamp = "timestamp", 1..=1, Other;
    Duration = "duration", 1..=1, Other;
    Dyn = "dyn", 1..=1, Unknown;
    StartsWith = "startsWith", 2..=2, Boolean;
    EndsWith = "endsWith", 2..=2, Boolean;
    Contains = "contains", 2..=2, Boolean;
    Valid = "valid", 1..=1, Unknown;
    WithType = "withType", 2..=2, Other;
    WithContext = "withContext", 2..=2, Other;
    WithIssuer = "withIssuer", 2..=2, Other;
    HasCredential = "hasCredential", 2..=2, Boolean;
    HasType = "hasType", 2..=2, Boolean;
    HasContext = "hasContext", 2..=2, Boolean;
    HasClaim = "hasClaim", 2..=3, Boolean;
    Claim = "claim", 2..=2, Unknown;
    Claims = "claims", 2..=2, Other;
}

impl Function {
    /// Whether it is a helper over credentials: these are called on a receiver only.
    pub(super) const fn is_helper(self) -> bool {
        use Function::{Claim, Claims, HasClaim, HasContext, HasCredential, HasType, Valid, WithContext, WithIssuer, WithType};
        matches!(self, Valid | WithType | WithContext | WithIssuer | HasCredential | HasType | HasContext | HasClaim | Claim | Claims)
    }
}
