//! How much memory values take, for a cache whose entries in the process are bounded by bytes.
//!
//! A value is weighed by the user's function for its type, or else by an estimate: the size of the type, and
//! what the value gives to serde beyond that. So a `String` weighs its text, too, and a list its elements.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::call::in_process::Unwritten;
use crate::value::CacheValue;

/// Weighs one type of values, whose form the function knows.
type OfType = Arc<dyn Fn(&dyn Any) -> Option<usize> + Send + Sync>;

/// Weighs values. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Weigher {
    of_types: HashMap<TypeId, OfType>,
}

impl Weigher {
    /// Has a function weigh the values of a type, whether they are shared or never leave the process.
    pub(crate) fn add<T: Any + Send + Sync>(
        &mut self,
        weigh: impl Fn(&T) -> usize + Send + Sync + 'static,
    ) {
        let weigh = Arc::new(weigh);
        self.add_form(&weigh, |value: &T| value);
        self.add_form(&weigh, |value: &Arc<T>| value);
        self.add_form(&weigh, |value: &Unwritten<T>| &value.0);
        self.add_form(&weigh, |value: &Unwritten<Arc<T>>| &value.0);
    }

    fn add_form<T, F: Any>(
        &mut self,
        weigh: &Arc<impl Fn(&T) -> usize + Send + Sync + 'static>,
        value_of: fn(&F) -> &T,
    ) where
        T: Any,
    {
        let weigh = weigh.clone();
        let of_type = move |value: &dyn Any| value.downcast_ref().map(|form| weigh(value_of(form)));
        self.of_types.insert(TypeId::of::<F>(), Arc::new(of_type));
    }

    /// How many bytes a value takes.
    pub(crate) fn weigh<V: CacheValue>(&self, value: &V) -> usize {
        let of_type = self.of_types.get(&TypeId::of::<V>());
        of_type
            .and_then(|weigh| weigh(value))
            .unwrap_or_else(|| estimate(value))
    }
}

impl fmt::Debug for Weigher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weigher")
            .field("types", &self.of_types.len())
            .finish()
    }
}

/// The size of the value's type, and what it gives to serde that cannot be within that.
///
/// A value behind a pointer is known by its parts only, and so is one that serde refuses: of that, the size
/// of its type is all that is known.
fn estimate<V: Serialize + ?Sized>(value: &V) -> usize {
    let mut scale = Scale::default();
    // What was weighed up to an error counts.
    let _refused = value.serialize(&mut scale);
    scale.outside + scale.parts.max(size_of_val(value))
}

/// Adds up what a value gives to serde.
#[derive(Default)]
struct Scale {
    /// What is somewhere else than the value: texts, and the elements of lists and maps.
    outside: usize,
    /// The sizes of all that may be part of the value.
    parts: usize,
}

/// A value has refused to be serialized.
#[derive(Debug)]
struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value cannot be serialized")
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Scale {
    /// A text or a list of bytes: the place of its pointer, length and capacity, and its content.
    fn text(&mut self, len: usize) {
        self.parts += size_of::<String>();
        self.outside += len;
    }

    fn list(&mut self) {
        self.parts += size_of::<Vec<()>>();
    }

    /// The parts of an element are its size, as far as is known: serde is given a reference to it.
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        let mut scale = Self::default();
        let done = value.serialize(&mut scale);
        self.outside += scale.outside + scale.parts;
        done
    }
}

macro_rules! parts {
    ($($method:ident: $type:ty;)+) => { $(
        fn $method(self, value: $type) -> Result<(), Refused> {
            self.parts += size_of_val(&value);
            Ok(())
        }
    )+ };
}

macro_rules! begin {
    ($($method:ident($($argument:ty),*);)+) => { $(
        fn $method(self, $(_: $argument),*) -> Result<Self, Refused> {
            Ok(self)
        }
    )+ };
}

impl Serializer for &mut Scale {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    /// As the process has it, and not as a text.
    fn is_human_readable(&self) -> bool {
        false
    }

    parts! {
        serialize_bool: bool;
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_i128: i128;
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_u128: u128;
        serialize_f32: f32;
        serialize_f64: f64;
        serialize_char: char;
    }

    begin! {
        serialize_tuple(usize);
        serialize_tuple_struct(&'static str, usize);
        serialize_tuple_variant(&'static str, u32, &'static str, usize);
        serialize_struct(&'static str, usize);
        serialize_struct_variant(&'static str, u32, &'static str, usize);
    }

    fn serialize_str(self, text: &str) -> Result<(), Refused> {
        self.text(text.len());
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refused> {
        self.text(bytes.len());
        Ok(())
    }

    /// It takes as much as a value, of which nothing is known.
    fn serialize_none(self) -> Result<(), Refused> {
        self.parts += size_of::<usize>();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), Refused> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Refused> {
        self.list();
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Refused> {
        self.list();
        Ok(self)
    }
}

/// What is part of the value.
macro_rules! inside {
    ($($kind:ident: $method:ident($($name:ty)?);)+) => { $(
        impl ser::$kind for &mut Scale {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $(_: $name,)?
                value: &T,
            ) -> Result<(), Refused> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Refused> {
                Ok(())
            }
        }
    )+ };
}

inside! {
    SerializeTuple: serialize_element();
    SerializeTupleStruct: serialize_field();
    SerializeTupleVariant: serialize_field();
    SerializeStruct: serialize_field(&'static str);
    SerializeStructVariant: serialize_field(&'static str);
}

impl ser::SerializeSeq for &mut Scale {
    type Ok = ();
    type Error = Refused;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.element(value)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

impl ser::SerializeMap for &mut Scale {
    type Ok = ();
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.element(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.element(value)
    }

    fn end(self) -> Result<(), Refused> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Clone, Serialize, Deserialize)]
    struct User {
        name: String,
        age: u64,
        address: Option<String>,
    }

    fn user(name: &str) -> User {
        User {
            name: name.to_owned(),
            age: 36,
            address: None,
        }
    }

    #[test]
    fn a_value_weighs_its_type_and_what_it_points_to() {
        assert_eq!(estimate(&7_u64), 8);
        assert_eq!(estimate("text"), 24 + 4);
        assert_eq!(estimate(&"x".repeat(1000)), 24 + 1000);
        assert_eq!(estimate(&user("Ada")), size_of::<User>() + 3);
        assert_eq!(estimate(&vec![1_u32; 100]), 24 + 400);
        let users = vec![user("Ada"); 10];
        assert_eq!(estimate(&users), 24 + 10 * (24 + 8 + 8 + 3));
        let map = BTreeMap::from([(1_u64, "one".to_owned()), (2, "two".to_owned())]);
        assert_eq!(estimate(&map), 24 + 2 * (8 + 24 + 3));
        // Behind a pointer, the parts are known: a text, and a number.
        assert_eq!(estimate(&Arc::new(user("Ada"))), 24 + 8 + 8 + 3);
        assert_eq!(estimate(&[[0_u8; 32]; 4]), 128);
    }

    #[test]
    fn a_value_that_serde_refuses_weighs_what_was_seen_of_it() {
        assert_eq!(estimate(&Unwritten([0_u64; 16])), 128);
    }

    #[test]
    fn the_function_for_a_type_weighs_it_in_each_of_its_forms() {
        let mut weigher = Weigher::default();
        weigher.add(|user: &User| user.name.len());
        assert_eq!(weigher.weigh(&user("Ada")), 3);
        assert_eq!(weigher.weigh(&Arc::new(user("Ada"))), 3);
        assert_eq!(weigher.weigh(&Unwritten(user("Ada"))), 3);
        assert_eq!(weigher.weigh(&Unwritten(Arc::new(user("Ada")))), 3);
        assert_eq!(weigher.weigh(&"Ada".to_owned()), 27);
        weigher.add(|user: &User| user.name.len() * 2);
        assert_eq!(weigher.weigh(&user("Ada")), 6);
    }
}
