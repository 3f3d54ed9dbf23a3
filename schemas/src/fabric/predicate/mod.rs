//! Predicates of the fabric's queries: `identifier = 'did:web:acme' AND vpas.state != 'active'`.
//!
//! A field is a dotted path. It steps through arrays (any element counts) and through keys that contain dots themselves. A comparison holds
//! when *some* value at the path satisfies it; a path that leads nowhere, or to `null`, satisfies only `IS NULL`.

mod matching;
mod parser;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest predicate, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;
/// Parentheses within parentheses at most: as JSON, which nodes send each other, each is four levels, and a reader takes 128.
pub const MAX_DEPTH: usize = 24;

/// Why a text is not a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredicateError {
    /// Longer than [`MAX_BYTES`].
    #[error("a predicate has at most {MAX_BYTES} bytes")]
    TooLong,
    /// More parentheses than [`MAX_DEPTH`].
    #[error("a predicate has at most {MAX_DEPTH} nested parentheses")]
    TooDeep,
    /// Something else was expected.
    #[error("malformed predicate at byte {at}: expected {expected}")]
    Syntax {
        /// Where, in bytes from the start.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

/// A condition on an entity's JSON form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Predicate {
    /// `true`: everything.
    All,
    /// `field operator literal`.
    Compare {
        /// Dotted path.
        field: String,
        /// The operator.
        operator: Operator,
        /// What to compare with.
        literal: Literal,
    },
    /// `field IN (…)`, `field NOT IN (…)`.
    In {
        /// Dotted path.
        field: String,
        /// At least one.
        literals: Vec<Literal>,
        /// Whether `NOT` was said.
        negated: bool,
    },
    /// `field IS NULL`, `field IS NOT NULL`.
    Null {
        /// Dotted path.
        field: String,
        /// Whether `NOT` was said.
        negated: bool,
    },
    /// All of at least two.
    And(Vec<Predicate>),
    /// Any of at least two.
    Or(Vec<Predicate>),
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `LIKE`: `%` stands for any text, `_` for one character.
    Like,
    /// `NOT LIKE`
    NotLike,
    /// `CONTAINS`
    Contains,
    /// `STARTS_WITH`
    StartsWith,
    /// `ENDS_WITH`
    EndsWith,
}

impl Operator {
    /// All operators; a symbol or word that begins another one stands after it.
    const ALL: [Self; 11] = [
        Self::NotEqual,
        Self::GreaterOrEqual,
        Self::LessOrEqual,
        Self::Equal,
        Self::Greater,
        Self::Less,
        Self::NotLike,
        Self::Like,
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
    ];

    /// Its words, for example `["NOT", "LIKE"]`.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::Equal => &["="],
            Self::NotEqual => &["!="],
            Self::Greater => &[">"],
            Self::GreaterOrEqual => &[">="],
            Self::Less => &["<"],
            Self::LessOrEqual => &["<="],
            Self::Like => &["LIKE"],
            Self::NotLike => &["NOT", "LIKE"],
            Self::Contains => &["CONTAINS"],
            Self::StartsWith => &["STARTS_WITH"],
            Self::EndsWith => &["ENDS_WITH"],
        }
    }
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Literal {
    /// `'text'`, with `''` for a quote.
    Text(String),
    /// `7`, `-1.5`; finite.
    Number(f64),
    /// `true`, `false`.
    Bool(bool),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "NOT " } else { "" };
        match self {
            Self::All => f.write_str("true"),
            Self::Compare { field, operator, literal } => write!(f, "{field} {} {literal}", operator.words().join(" ")),
            Self::In { field, literals, negated } => {
                let list: Vec<String> = literals.iter().map(Literal::to_string).collect();
                write!(f, "{field} {}IN ({})", not(negated), list.join(", "))
            }
            Self::Null { field, negated } => write!(f, "{field} IS {}NULL", not(negated)),
            Self::And(parts) => join(f, parts, " AND "),
            Self::Or(parts) => join(f, parts, " OR "),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, parts: &[Predicate], word: &str) -> fmt::Result {
    for (n, part) in parts.iter().enumerate() {
        if n > 0 {
            f.write_str(word)?;
        }
        match part {
            Predicate::And(_) | Predicate::Or(_) => write!(f, "({part})")?,
            Predicate::All | Predicate::Compare { .. } | Predicate::In { .. } | Predicate::Null { .. } => write!(f, "{part}")?,
        }
    }
    Ok(())
}
