//! Fields that take what they can use and pass over anything else: a field of another type than expected must never
//! cost the record.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::Deserializer;
use serde::de::IgnoredAny;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::value::RawValue;

/// A text, or nothing if the value is something else.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Option<Cow<'a, str>>);

impl Text<'_> {
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text cut to the length of the longest id or word of any version.
    pub(super) fn short(&self) -> Option<String> {
        const LONGEST: usize = 1024;
        self.get().map(|text| conveyor_model::rollout::cut(text, LONGEST).0.to_owned())
    }
}

/// A whole number that is not negative, or nothing if the value is something else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) Option<u64>);

/// Any number, or nothing if the value is something else.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number(pub(super) Option<f64>);

/// What is kept of a value of each JSON type; by default nothing.
trait Keep<'a>: Default {
    fn borrowed(_: &'a str) -> Self {
        Self::default()
    }
    fn owned(_: &str) -> Self {
        Self::default()
    }
    fn unsigned(_: u64) -> Self {
        Self::default()
    }
    fn signed(_: i64) -> Self {
        Self::default()
    }
    fn float(_: f64) -> Self {
        Self::default()
    }
}

impl<'de: 'a, 'a> Keep<'de> for Text<'a> {
    fn borrowed(text: &'de str) -> Self {
        Self(Some(Cow::Borrowed(text)))
    }
    fn owned(text: &str) -> Self {
        Self(Some(Cow::Owned(text.to_owned())))
    }
}

impl Keep<'_> for Count {
    fn unsigned(number: u64) -> Self {
        Self(Some(number))
    }
}

impl Keep<'_> for Number {
    fn unsigned(number: u64) -> Self {
        Self(Some(number as f64))
    }
    fn signed(number: i64) -> Self {
        Self(Some(number as f64))
    }
    fn float(number: f64) -> Self {
        Self(Some(number))
    }
}

struct KeepVisitor<T>(PhantomData<T>);

impl<'de, T: Keep<'de>> Visitor<'de> for KeepVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T, E> {
        Ok(T::borrowed(text))
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::owned(text))
    }
    fn visit_u64<E>(self, number: u64) -> Result<T, E> {
        Ok(T::unsigned(number))
    }
    fn visit_i64<E>(self, number: i64) -> Result<T, E> {
        Ok(T::signed(number))
    }
    fn visit_f64<E>(self, number: f64) -> Result<T, E> {
        Ok(T::float(number))
    }
    fn visit_bool<E>(self, _: bool) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<T, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(T::default())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(KeepVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(KeepVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(KeepVisitor(PhantomData))
    }
}

/// The object that `raw` holds, or the default if it holds something else.
///
/// Serde fills a struct from an array too; a record never means that.
pub(super) fn object<'a, T: Deserialize<'a> + Default>(raw: Option<&'a RawValue>) -> T {
    try_object(raw).unwrap_or_default()
}

/// The object that `raw` holds, if it holds one.
pub(super) fn try_object<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>) -> Option<T> {
    let json = raw?.get();
    if json.starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

/// The text that `raw` holds; of another value but null its JSON.
pub(super) fn text_or_json(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    let json = raw?.get();
    match json.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<Text<'_>>(json).ok()?.0,
        Some(b'n') | None => None,
        Some(_) => Some(Cow::Borrowed(json)),
    }
}
