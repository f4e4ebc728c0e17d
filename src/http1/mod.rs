//! HTTP/1.1 as it is on the wire (RFC 9112): heads, and where a body ends. Bytes in, meaning out;
//! nothing here reads, writes or waits.
//!
//! There is one reading of a message or none. What two parsers could take for two messages is
//! [`Malformed`], whichever way a lenient one would decide: that is how requests are smuggled.

mod body;
mod chunked;
mod connection;
mod field;
mod head;
mod malformed;
mod request;
mod response;

pub use body::{BodyDecoder, BodyLength, Step};
pub use chunked::ChunkedDecoder;
pub use connection::{ConnectionOptions, tokens};
pub use field::{Field, FieldName};
pub use head::{FieldSpace, MAX_FIELDS, Version};
pub use malformed::Malformed;
pub use request::{RequestHead, Target};
pub use response::ResponseHead;
