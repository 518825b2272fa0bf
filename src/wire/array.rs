//! Macros that declare messages as CBOR arrays.
//!
//! Fields are encoded by position and variants by number. There are no names on the wire, and no
//! field can be left out.

/// Declares structs that are encoded as arrays of their fields, in order.
macro_rules! wire_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident: $ty:ty, )+ }
    )+) => {$(
        $(#[$meta])*
        pub struct $name { $( $(#[$field_meta])* pub $field: $ty, )+ }

        impl $name {
            const FIELDS: &'static [&'static str] = &[$( stringify!($field) ),+];
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeTuple;
                let mut tuple = serializer.serialize_tuple(Self::FIELDS.len())?;
                $( tuple.serialize_element(&self.$field)?; )+
                tuple.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(f, "an array of {:?}", $name::FIELDS)
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut seq: A,
                    ) -> Result<$name, A::Error> {
                        use serde::de::Error;
                        $( let $field = seq
                            .next_element()?
                            .ok_or_else(|| A::Error::missing_field(stringify!($field)))?; )+
                        Ok($name { $( $field ),+ })
                    }
                }
                deserializer.deserialize_tuple(Self::FIELDS.len(), Visitor)
            }
        }
    )+};
}

/// Declares enums that are encoded as `[number]` or `[number, body]`.
macro_rules! wire_enum {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $(
            $(#[$variant_meta:meta])*
            $number:literal = $variant:ident $(($body:ty))?,
        )+ }
    )+) => {$(
        $(#[$meta])*
        pub enum $name { $( $(#[$variant_meta])* $variant $(($body))?, )+ }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $( wire_enum!(@pattern $variant body $($body)?) => {
                        wire_enum!(@write serializer $number body $($body)?)
                    } )+
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("an array of a number and a body: ", stringify!($name)))
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut seq: A,
                    ) -> Result<$name, A::Error> {
                        use serde::de::Error;
                        let number: u8 = seq
                            .next_element()?
                            .ok_or_else(|| A::Error::missing_field("number"))?;
                        match number {
                            $( $number => wire_enum!(@read seq $name $variant $($body)?), )+
                            other => Err(A::Error::custom(format_args!(
                                "{other} is no variant of {}",
                                stringify!($name)
                            ))),
                        }
                    }
                }
                deserializer.deserialize_seq(Visitor)
            }
        }
    )+};
    (@pattern $variant:ident $bound:ident) => { Self::$variant };
    (@pattern $variant:ident $bound:ident $body:ty) => { Self::$variant($bound) };
    (@write $serializer:ident $number:literal $bound:ident) => {{
        use serde::ser::SerializeTuple;
        let mut tuple = $serializer.serialize_tuple(1)?;
        tuple.serialize_element(&($number as u8))?;
        tuple.end()
    }};
    (@write $serializer:ident $number:literal $bound:ident $body:ty) => {{
        use serde::ser::SerializeTuple;
        let mut tuple = $serializer.serialize_tuple(2)?;
        tuple.serialize_element(&($number as u8))?;
        tuple.serialize_element($bound)?;
        tuple.end()
    }};
    (@read $seq:ident $name:ident $variant:ident) => { Ok($name::$variant) };
    (@read $seq:ident $name:ident $variant:ident $body:ty) => {
        Ok($name::$variant(
            $seq.next_element::<$body>()?.ok_or_else(|| A::Error::missing_field("body"))?,
        ))
    };
}

pub(super) use {wire_enum, wire_struct};
