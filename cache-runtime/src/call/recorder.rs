//! The calls that a value makes to serde, as a text in the form of `{:#?}`.

use std::fmt::{self, Display, Write as _};

use serde::Serialize;
use serde::ser::{self, Serializer};

/// The calls, or `None` if the value refuses to be serialized.
pub(super) fn record<V: Serialize>(value: &V) -> Option<String> {
    let mut recorder = Recorder::default();
    value.serialize(&mut recorder).ok()?;
    Some(recorder.text)
}

#[derive(Default)]
struct Recorder {
    text: String,
    depth: usize,
}

impl Recorder {
    fn open(&mut self, name: &str, bracket: &str) {
        self.text.push_str(name);
        self.text.push_str(bracket);
        self.text.push('\n');
        self.depth += 1;
    }

    /// An element, after its name.
    fn element<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> fmt::Result {
        self.indent();
        self.text.push_str(name);
        value.serialize(&mut *self)?;
        self.text.push_str(",\n");
        Ok(())
    }

    fn close(&mut self, bracket: &str) {
        self.depth -= 1;
        self.indent();
        self.text.push_str(bracket);
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n("    ", self.depth));
    }
}

macro_rules! leaves {
    ($($method:ident: $type:ty;)+) => { $(
        fn $method(self, value: $type) -> fmt::Result {
            write!(self.text, "{value:?}")
        }
    )+ };
}

impl Serializer for &mut Recorder {
    type Ok = ();
    type Error = fmt::Error;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    leaves! {
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
        serialize_str: &str;
        serialize_bytes: &[u8];
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> fmt::Result {
        self.serialize_str(&value.to_string())
    }

    fn serialize_none(self) -> fmt::Result {
        self.text.push_str("None");
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> fmt::Result {
        self.serialize_newtype_struct("Some", value)
    }

    fn serialize_unit(self) -> fmt::Result {
        self.text.push_str("()");
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> fmt::Result {
        self.text.push_str(name);
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, name: &'static str) -> fmt::Result {
        self.serialize_unit_struct(name)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> fmt::Result {
        self.open(name, "(");
        self.element("", value)?;
        self.close(")");
        Ok(())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> fmt::Result {
        self.serialize_newtype_struct(name, value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, fmt::Error> {
        self.open("", "[");
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, fmt::Error> {
        self.open("", "[");
        Ok(self)
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self, fmt::Error> {
        self.open(name, "[");
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self, fmt::Error> {
        self.open(name, "[");
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, fmt::Error> {
        self.open("", "{");
        Ok(self)
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Self, fmt::Error> {
        self.open(name, " {");
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        _: usize,
    ) -> Result<Self, fmt::Error> {
        self.open(name, " {");
        Ok(self)
    }
}

/// What is made of elements without names.
macro_rules! lists {
    ($($kind:ident: $method:ident;)+) => { $(
        impl ser::$kind for &mut Recorder {
            type Ok = ();
            type Error = fmt::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
                self.element("", value)
            }

            fn end(self) -> fmt::Result {
                self.close("]");
                Ok(())
            }
        }
    )+ };
}

lists! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

/// What is made of fields.
macro_rules! structs {
    ($($kind:ident;)+) => { $(
        impl ser::$kind for &mut Recorder {
            type Ok = ();
            type Error = fmt::Error;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> fmt::Result {
                self.element(&format!("{name}: "), value)
            }

            fn end(self) -> fmt::Result {
                self.close("}");
                Ok(())
            }
        }
    )+ };
}

structs! {
    SerializeStruct;
    SerializeStructVariant;
}

impl ser::SerializeMap for &mut Recorder {
    type Ok = ();
    type Error = fmt::Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> fmt::Result {
        self.indent();
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> fmt::Result {
        self.text.push_str(": ");
        value.serialize(&mut **self)?;
        self.text.push_str(",\n");
        Ok(())
    }

    fn end(self) -> fmt::Result {
        self.close("}");
        Ok(())
    }
}
