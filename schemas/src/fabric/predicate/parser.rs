//! The grammar, by recursive descent:
//! `or := and ("OR" and)*`, `and := term ("AND" term)*`, `term := "(" or ")" | "true" | field condition`.

use super::{Literal, MAX_BYTES, MAX_DEPTH, Operator, Predicate, PredicateError};
use std::str::FromStr;

impl FromStr for Predicate {
    type Err = PredicateError;

    fn from_str(text: &str) -> Result<Self, PredicateError> {
        if text.len() > MAX_BYTES {
            return Err(PredicateError::TooLong);
        }
        let mut parser = Parser { text, at: 0, depth: 0 };
        let predicate = parser.or()?;
        parser.skip_space();
        if parser.rest().is_empty() { Ok(predicate) } else { Err(parser.expected("AND, OR or the end")) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

fn of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/' | '@' | '#')
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn expected(&self, expected: &'static str) -> PredicateError {
        PredicateError::Syntax { at: self.at, expected }
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes the symbol or whole word (in any letter case) when it comes next.
    fn take(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = self.rest();
        let found = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        let is_word = word.chars().all(of_word);
        let ends = !is_word || !rest.get(word.len()..).is_some_and(|after| after.starts_with(of_word));
        if found && ends {
            self.at += word.len();
        }
        found && ends
    }

    /// Takes all of the words, or none.
    fn take_all(&mut self, words: &[&str]) -> bool {
        let start = self.at;
        let found = words.iter().all(|word| self.take(word));
        if !found {
            self.at = start;
        }
        found
    }

    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let word = rest.get(..rest.find(|c| !of_word(c)).unwrap_or(rest.len())).unwrap_or_default();
        self.at += word.len();
        word
    }

    fn or(&mut self) -> Result<Predicate, PredicateError> {
        let first = self.and()?;
        let mut parts = vec![first];
        while self.take("OR") {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Predicate::Or))
    }

    fn and(&mut self) -> Result<Predicate, PredicateError> {
        let first = self.term()?;
        let mut parts = vec![first];
        while self.take("AND") {
            parts.push(self.term()?);
        }
        Ok(one_or(parts, Predicate::And))
    }

    fn term(&mut self) -> Result<Predicate, PredicateError> {
        if self.take("(") {
            if self.depth == MAX_DEPTH {
                return Err(PredicateError::TooDeep);
            }
            self.depth += 1;
            let inner = self.or()?;
            self.depth -= 1;
            return if self.take(")") { Ok(inner) } else { Err(self.expected("a closing parenthesis")) };
        }
        if self.take("true") {
            return Ok(Predicate::All);
        }
        let field = self.word();
        if field.is_empty() {
            return Err(self.expected("a field, true or an opening parenthesis"));
        }
        self.condition(field.to_owned())
    }

    fn condition(&mut self, field: String) -> Result<Predicate, PredicateError> {
        for (words, negated) in [(["IS", "NULL"].as_slice(), false), (&["IS", "NOT", "NULL"], true)] {
            if self.take_all(words) {
                return Ok(Predicate::Null { field, negated });
            }
        }
        for (words, negated) in [(["IN", "("].as_slice(), false), (&["NOT", "IN", "("], true)] {
            if self.take_all(words) {
                return Ok(Predicate::In { field, literals: self.literals()?, negated });
            }
        }
        for operator in Operator::ALL {
            if self.take_all(operator.words()) {
                return Ok(Predicate::Compare { field, operator, literal: self.literal()? });
            }
        }
        Err(self.expected("an operator"))
    }

    fn literals(&mut self) -> Result<Vec<Literal>, PredicateError> {
        let first = self.literal()?;
        let mut literals = vec![first];
        while self.take(",") {
            literals.push(self.literal()?);
        }
        if self.take(")") { Ok(literals) } else { Err(self.expected("a comma or a closing parenthesis")) }
    }

    fn literal(&mut self) -> Result<Literal, PredicateError> {
        if self.take("'") {
            return self.text();
        }
        for value in [true, false] {
            if self.take(if value { "true" } else { "false" }) {
                return Ok(Literal::Bool(value));
            }
        }
        let start = self.at;
        let number = self.word().parse::<f64>().ok().filter(|number| number.is_finite());
        number
            .map(Literal::Number)
            .ok_or(PredicateError::Syntax { at: start, expected: "a text in single quotes, a number, true or false" })
    }

    /// The rest of a text after its opening quote.
    fn text(&mut self) -> Result<Literal, PredicateError> {
        let mut text = String::new();
        loop {
            let Some((part, _)) = self.rest().split_once('\'') else {
                return Err(self.expected("a closing quote"));
            };
            text.push_str(part);
            self.at += part.len() + 1;
            if !self.rest().starts_with('\'') {
                return Ok(Literal::Text(text));
            }
            text.push('\'');
            self.at += 1;
        }
    }
}

fn one_or(mut parts: Vec<Predicate>, many: fn(Vec<Predicate>) -> Predicate) -> Predicate {
    match (parts.pop(), parts.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            parts.push(last);
            many(parts)
        }
        (None, _) => Predicate::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Predicate, PredicateError> {
        text.parse()
    }

    #[test]
    fn precedence_and_parentheses() {
        let text = "a = 'x' OR b > 1 AND c IS NULL";
        assert_eq!(parse(text).unwrap().to_string(), "a = 'x' OR (b > 1 AND c IS NULL)");
        assert_eq!(parse("(a = 'x' OR b > 1) AND c IS NULL").unwrap().to_string(), "(a = 'x' OR b > 1) AND c IS NULL");
        assert_eq!(parse(" ( ( true ) ) "), Ok(Predicate::All));
    }

    #[test]
    fn all_operators_and_letter_cases() {
        for (text, canonical) in [
            ("a!='x'", "a != 'x'"),
            ("a>=1", "a >= 1"),
            ("a<=-1.5", "a <= -1.5"),
            ("a not like 'x%'", "a NOT LIKE 'x%'"),
            ("a like'_'", "a LIKE '_'"),
            ("a contains 'it''s'", "a CONTAINS 'it''s'"),
            ("a Starts_With 'x'", "a STARTS_WITH 'x'"),
            ("a ENDS_WITH ''", "a ENDS_WITH ''"),
            ("properties.name in('x',2,false)", "properties.name IN ('x', 2, false)"),
            ("a NOT IN ('x')", "a NOT IN ('x')"),
            ("error = true", "error = true"),
            ("a is not null and true", "a IS NOT NULL AND true"),
            ("truely = 'x'", "truely = 'x'"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn mistakes_are_located() {
        for (text, at) in [
            ("", 0),
            ("a", 1),
            ("a =", 3),
            ("a = 'x", 5),
            ("a = x", 4),
            ("a IN ()", 6),
            ("a = 1 b = 2", 6),
            ("(a = 1", 6),
            ("NOT a = 1", 3),
        ] {
            match parse(text) {
                Err(PredicateError::Syntax { at: found, .. }) => assert_eq!(found, at, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(parse(&"x".repeat(MAX_BYTES + 1)), Err(PredicateError::TooLong));
        assert_eq!(parse(&"(".repeat(MAX_DEPTH + 1)), Err(PredicateError::TooDeep));
    }

    /// Whatever is taken here can be asked elsewhere, within all that is around it on the way.
    #[test]
    fn the_deepest_is_read_again_as_json() {
        let deepest = (0..MAX_DEPTH).fold("a = 1".to_owned(), |inner, _| format!("a = 1 OR a = 1 AND ({inner} OR a = 1 AND a = 1)"));
        let deepest = parse(&deepest).unwrap();
        let sent = format!("{}{}{}", "[".repeat(12), serde_json::to_string(&deepest).unwrap(), "]".repeat(12));
        let mut read: serde_json::Value = serde_json::from_str(&sent).unwrap();
        for _ in 0..12 {
            read = read[0].take();
        }
        assert_eq!(serde_json::from_value::<Predicate>(read).unwrap(), deepest);
    }

    fn literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            "[a-z'% ]{0,8}".prop_map(Literal::Text),
            (-1000i32..1000).prop_map(|n| Literal::Number(f64::from(n) / 4.0)),
            any::<bool>().prop_map(Literal::Bool),
        ]
    }

    fn predicate() -> impl Strategy<Value = Predicate> {
        let field = || "[a-z]{2,5}x(\\.[a-z0-9-]{1,5}x){0,2}";
        let leaf = prop_oneof![
            Just(Predicate::All),
            (field(), 0..Operator::ALL.len(), literal()).prop_map(|(field, n, literal)| Predicate::Compare {
                field,
                operator: Operator::ALL[n],
                literal
            }),
            (field(), proptest::collection::vec(literal(), 1..4), any::<bool>()).prop_map(|(field, literals, negated)| Predicate::In {
                field,
                literals,
                negated
            }),
            (field(), any::<bool>()).prop_map(|(field, negated)| Predicate::Null { field, negated }),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let parts = proptest::collection::vec(inner, 2..4);
            prop_oneof![parts.clone().prop_map(Predicate::And), parts.prop_map(Predicate::Or)]
        })
    }

    proptest! {
        #![proptest_config(crate::testkit::proptest_config())]
        /// What is written is read back as the same.
        #[test]
        fn round_trip(predicate in predicate()) {
            prop_assert_eq!(parse(&predicate.to_string()), Ok(predicate));
        }

        /// No text makes the parser panic or loop.
        #[test]
        fn any_text_is_judged(text in "[a-zA-Z=!<>()', .%_0-9é-]{0,60}") {
            if let Ok(predicate) = parse(&text) {
                prop_assert_eq!(parse(&predicate.to_string()), Ok(predicate));
            }
        }
    }
}
