//! HTTP: the route table and its parts.

pub(crate) mod edge;
pub(crate) mod error;
pub(crate) mod etag;
pub(crate) mod extract;
pub(crate) mod fields;
pub(crate) mod keys;
