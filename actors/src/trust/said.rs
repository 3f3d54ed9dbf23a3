//! JSON of a signed text, read where it lies: most of what others say is looked at once, and little of it kept.

use super::claims::NumericDate;
use cellspace_schemas::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, Value};
use std::{borrow::Cow, fmt};

/// A JSON value. Texts without escapes are those of what it was read from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Said<'a> {
    /// `null`, and what is not there.
    #[default]
    Null,
    #[allow(missing_docs)]
    Bool(bool),
    #[allow(missing_docs)]
    Number(Number),
    #[allow(missing_docs)]
    Text(Text<'a>),
    #[allow(missing_docs)]
    List(Vec<Self>),
    /// Members as they come; of those with the same name the last one counts.
    Object(Vec<(Text<'a>, Self)>),
}

/// A text of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl AsRef<str> for Text<'_> {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl<'a> Said<'a> {
    /// A member of an object.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known.0 == name).map(|(_, value)| value)
    }

    /// The text that it is.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.as_ref()) } else { None }
    }

    /// The text that a member is.
    #[must_use]
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The whole number that it is, if it is not below zero.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        if let Self::Number(number) = self { number.as_u64() } else { None }
    }

    /// The `NumericDate` that it is.
    #[must_use]
    pub fn numeric_date(&self) -> Option<Timestamp> {
        let Self::Number(number) = self else { return None };
        NumericDate::of(number.as_f64()?).map(|date| date.0)
    }

    /// As a value of its own.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(text) => Value::String(text.0.clone().into_owned()),
            Self::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Self::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.0.clone().into_owned(), value.to_value())).collect())
            }
        }
    }

    /// The items of a list, or the one that it is itself.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { std::slice::from_ref(self) }
    }

    /// One text or a list of texts.
    #[must_use]
    pub fn texts(&self) -> Option<Vec<String>> {
        let items = self.items();
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            texts.push(item.text()?.to_owned());
        }
        Some(texts)
    }

    /// Whether it is an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Whether it is this text, or a list in which it is.
    #[must_use]
    pub fn names(&self, wanted: &str) -> bool {
        self.items().iter().any(|item| item.text() == Some(wanted))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Said<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaidVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct SaidVisitor;

struct TextVisitor;

impl<'de> Visitor<'de> for SaidVisitor {
    type Value = Said<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Said<'de>, E> {
        Ok(Said::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Said<'de>, E> {
        Ok(Said::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Said<'de>, E> {
        Ok(Said::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Said<'de>, E> {
        Ok(Said::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Said<'de>, E> {
        Ok(Number::from_f64(value).map_or(Said::Null, Said::Number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Said<'de>, E> {
        TextVisitor.visit_str(text).map(Said::Text)
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Said<'de>, E> {
        TextVisitor.visit_borrowed_str(text).map(Said::Text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Said<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Said::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Said<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Said::Object(members))
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cellspace_schemas::testkit;
    use proptest::prelude::*;
    use serde_json::{from_str, json};

    const TEXT: &str = "[a-c\"\\\\\u{e4}]{0,4}";

    #[test]
    fn texts_stay_where_they_are() {
        let said: Said<'_> = from_str(r#"{"a": "plain", "b": "with \u0061n escape", "c": ["x", "y"], "d": "z"}"#).unwrap();
        assert_eq!((said.text_of("a"), said.text_of("b")), (Some("plain"), Some("with an escape")));
        assert!(matches!(said.get("a"), Some(Said::Text(Text(Cow::Borrowed(_))))));
        assert_eq!(said.get("c").and_then(Said::texts), Some(vec!["x".to_owned(), "y".to_owned()]));
        assert!(said.get("c").unwrap().names("y") && said.get("d").unwrap().names("z") && !said.get("d").unwrap().names("y"));
        assert_eq!((said.get("e"), said.text_of("c"), said.texts()), (None, None, None));
    }

    #[test]
    fn numbers_are_whole_or_dates_or_neither() {
        let said: Said<'_> = from_str("[7, 1790000000.5, -1, \"7\"]").unwrap();
        let [whole, date, negative, text] = said.items() else { panic!("four items") };
        assert_eq!((whole.whole(), date.whole(), negative.whole(), text.whole()), (Some(7), None, None, None));
        assert_eq!((date.numeric_date(), negative.numeric_date(), text.numeric_date()), (Some(Timestamp(1_790_000_000_500)), None, None));
    }

    proptest! {
        #![proptest_config(testkit::proptest_config())]

        /// What is read of it is what anybody else reads, and of members with the same name it is the last one.
        #[test]
        fn it_is_the_same_json(value in testkit::json(TEXT, TEXT), first in testkit::json(TEXT, TEXT)) {
            let text = value.to_string();
            prop_assert_eq!(from_str::<Said<'_>>(&text).unwrap().to_value(), value.clone());
            let twice = format!("{{\"a\": {first}, \"a\": {text}}}");
            let said: Said<'_> = from_str(&twice).unwrap();
            prop_assert_eq!(said.get("a").map(Said::to_value), Some(value.clone()));
            prop_assert_eq!(said.to_value(), json!({ "a": value }));
        }
    }
}
