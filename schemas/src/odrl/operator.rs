//! Operators of constraints (ODRL 2.2 vocabulary, 3.8 and 3.10).

use super::term;
use std::fmt;

macro_rules! operators {
    ($(#[$doc:meta])* $name:ident: $($variant:ident = $text:literal, $what:literal);+ $(;)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = $what] $variant,)+
        }

        impl $name {
            /// Every operator.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The term in the vocabulary.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            /// Reads the term, with or without prefix or namespace.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let text = term(text);
                Self::ALL.iter().copied().find(|operator| operator.as_str() == text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

operators!(
    /// Relation between the left and the right operand.
    Operator:
    Eq = "eq", "Equal.";
    Neq = "neq", "Not equal.";
    Gt = "gt", "Greater.";
    Gteq = "gteq", "Greater or equal.";
    Lt = "lt", "Less.";
    Lteq = "lteq", "Less or equal.";
    HasPart = "hasPart", "The left contains the right.";
    IsA = "isA", "The left is an instance of the right.";
    IsAllOf = "isAllOf", "The left is all of the right.";
    IsAnyOf = "isAnyOf", "The left is one of the right.";
    IsNoneOf = "isNoneOf", "The left is none of the right.";
    IsPartOf = "isPartOf", "The left is contained in the right.";
);

operators!(
    /// How the parts of a logical constraint are joined.
    LogicalOperator:
    And = "and", "All hold.";
    AndSequence = "andSequence", "All hold, judged in order.";
    Or = "or", "At least one holds.";
    Xone = "xone", "Exactly one holds.";
);
