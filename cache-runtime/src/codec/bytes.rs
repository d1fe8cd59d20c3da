//! Values that are bytes and nothing else: they are stored as they are, whatever the codec.
//!
//! To serde, such a value is a sequence of numbers, or depends on the format. In JSON it would take up to
//! four times its length, and one call of serde for each byte.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use super::reason::Reason;

/// Whether values of this type are bytes.
pub(super) fn are<V: 'static>() -> bool {
    let none: &dyn Any = &None::<V>;
    is_any_of(none)
}

pub(super) fn encode<V: 'static>(value: &V) -> Result<Vec<u8>, Reason> {
    let value: &dyn Any = value;
    bytes_of(value).ok_or_else(|| Reason::new("it is not bytes"))
}

pub(super) fn decode<V: 'static>(bytes: &[u8]) -> Result<V, Reason> {
    let mut value = None::<V>;
    let place: &mut dyn Any = &mut value;
    if !is_any_of(place) {
        return Err(Reason::new("it is bytes, and not of this type"));
    }
    put(bytes, place);
    value.ok_or_else(|| Reason::new("it has another number of bytes"))
}

/// The types of bytes, each with how a value is made of them.
macro_rules! types_of_bytes {
    ($($type:ty => $make:expr),+; $($length:literal)+) => {
        /// Whether this is an `Option` of a type of bytes.
        fn is_any_of(none: &dyn Any) -> bool {
            $(none.is::<Option<$type>>() ||)+ $(none.is::<Option<[u8; $length]>>() ||)+ false
        }

        fn bytes_of(value: &dyn Any) -> Option<Vec<u8>> {
            $(if let Some(bytes) = value.downcast_ref::<$type>() {
                return Some(bytes.to_vec());
            })+
            $(if let Some(bytes) = value.downcast_ref::<[u8; $length]>() {
                return Some(bytes.to_vec());
            })+
            None
        }

        /// Puts a value into an `Option` of a type of bytes. An array of another length stays `None`.
        fn put(bytes: &[u8], place: &mut dyn Any) {
            $(if let Some(place) = place.downcast_mut::<Option<$type>>() {
                let make: fn(&[u8]) -> $type = $make;
                *place = Some(make(bytes));
            })+
            $(if let Some(place) = place.downcast_mut::<Option<[u8; $length]>>() {
                *place = bytes.try_into().ok();
            })+
        }
    };
}

types_of_bytes! {
    Vec<u8> => |bytes| bytes.into(),
    Box<[u8]> => |bytes| bytes.into(),
    Bytes => Bytes::copy_from_slice,
    Arc<[u8]> => |bytes| bytes.into(),
    Arc<Vec<u8>> => |bytes| Arc::new(bytes.into()),
    Arc<Bytes> => |bytes| Arc::new(Bytes::copy_from_slice(bytes));
    // Those that serde writes.
    0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<V: PartialEq + std::fmt::Debug + 'static>(value: &V, expected: &[u8]) {
        assert!(are::<V>());
        assert_eq!(encode(value).unwrap(), expected);
        assert_eq!(decode::<V>(expected).unwrap(), *value);
    }

    #[test]
    fn bytes_of_each_type_come_back() {
        let bytes = [0, 255, b'"', 10];
        check(&bytes, &bytes);
        check(&bytes.to_vec(), &bytes);
        check(&Vec::<u8>::new(), &[]);
        check::<Box<[u8]>>(&bytes.into(), &bytes);
        check::<Arc<[u8]>>(&bytes.into(), &bytes);
        check(&Bytes::from_static(&[7, 8]), &[7, 8]);
        check(&Arc::new(Bytes::from_static(&[7, 8])), &[7, 8]);
        check(&Arc::new(bytes.to_vec()), &bytes);
        check(&[7_u8; 32], &[7; 32]);
        check::<[u8; 0]>(&[], &[]);
    }

    #[test]
    fn other_types_are_no_bytes() {
        assert!(!are::<String>() && !are::<Vec<i8>>() && !are::<Vec<Vec<u8>>>() && !are::<u8>());
        assert!(encode(&"text".to_owned()).is_err());
        assert!(decode::<String>(b"text").is_err());
        assert!(decode::<[u8; 3]>(b"text").is_err());
    }
}
